// What the page shows of answers and of the model, as elements of HTML. Names are anybody's: they are text, never markup.

const LIKELY = 0.001;
const MOST_CONFUSIONS = 5;
const count = (number) => number.toLocaleString("en");

/** An element with its properties and what is in it. */
export function make(tag, properties = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...inside.filter((part) => part !== null));
  return element;
}

/** A name that somebody else chose; its direction of writing ends with it. */
const named = (text) => make("bdi", { textContent: text });

export function percent(share) {
  if (share > 0 && share < LIKELY) return "<0.1\u202f%";
  return `${(100 * share).toFixed(1)}\u202f%`;
}

/** The place of a picture that waits for its answer. */
export function drawPicture(file) {
  const address = URL.createObjectURL(file);
  const image = make("img", { src: address, alt: `The picture ${file.name}`, decoding: "async" });
  const frame = make("div", { className: "frame" }, image);
  image.addEventListener("load", () => {
    frame.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
    frame.classList.toggle("coarse", Math.max(image.naturalWidth, image.naturalHeight) < 160);
  });
  image.addEventListener("error", () => frame.replaceChildren(make("span", { className: "quiet", textContent: "No preview" })));
  const answer = make("div", { className: "answer" }, make("p", { className: "waiting", textContent: "Looking…" }));
  const card = make("article", { className: "picture", ariaLabel: file.name }, frame, make("p", { className: "name" }, named(file.name)), answer);
  return { file, address, card, frame, answer };
}

/** Put a prediction, or the trouble with it, into its picture's place. */
export function drawAnswer({ card, frame, answer }, prediction) {
  frame.querySelector(".heat")?.remove();
  card.classList.toggle("failed", Boolean(prediction.error));
  if (prediction.error) {
    answer.replaceChildren(make("p", { className: "error", textContent: sayProblem(prediction.error) }));
    return;
  }
  if (prediction.heat_map) frame.append(make("img", { className: "heat", src: prediction.heat_map, alt: "" }));
  const classes = prediction.classes.length
    ? make("ol", { className: "bars" }, ...prediction.classes.map(drawBar))
    : make("p", { className: "quiet", textContent: "This network names no classes." });
  const missing = prediction.without_heat_map;
  answer.replaceChildren(classes, ...(missing ? [make("p", { className: "quiet", textContent: `No heat map: ${missing}` })] : []));
}

function drawBar({ class: name, probability }) {
  const fill = make("span", { className: "fill" });
  fill.style.setProperty("--share", probability);
  const label = make("span", { className: "label" }, named(name));
  const track = make("span", { className: "track", ariaHidden: "true" }, fill);
  return make("li", {}, label, make("span", { className: "value", textContent: percent(probability) }), track);
}

export const sayProblem = (problem) => problem.detail || problem.title || "Something went wrong; try again.";

/** A model in the list of those that can be chosen. */
export function drawOption({ name, ready = true }) {
  return make("option", { value: name, textContent: ready ? name : `${name} (not ready)`, disabled: !ready });
}

/** The model's card: what it was trained on, how often it is right, what it takes for what. */
export function drawCard(model) {
  return [
    make("h2", { textContent: "About this model" }),
    make("p", { className: "model-name" }, named(model.name)),
    drawFacts(model),
    model.accuracy ? drawAccuracy(model.accuracy) : make("p", { className: "quiet", textContent: "How often it is right was not measured." }),
    model.confusions?.length ? drawConfusions(model.confusions) : null,
    model.class_names?.length ? drawClasses(model.class_names) : null,
  ].filter(Boolean);
}

function drawFacts(model) {
  const trained = model.trained_on ?? {};
  const images = trained.images?.train ? `, ${count(trained.images.train)} images` : "";
  const facts = {
    Network: model.network,
    "Trained on": trained.data && `${trained.data}${images}`,
    "Begun from": trained.weights,
    Recipe: trained.recipe,
    Reads: model.image_size && `${model.image_size} × ${model.image_size} pixels`,
    Runs: [model.engine, model.precision].filter(Boolean).join(", "),
    Licence: model.licence ?? "not stated",
  };
  const rows = Object.entries(facts).filter(([, value]) => value);
  return make("dl", {}, ...rows.map(([term, value]) => make("div", {}, make("dt", { textContent: term }), make("dd", {}, named(value)))));
}

function drawAccuracy({ value, low, high, images, part }) {
  const scale = make("div", { className: "scale", ariaHidden: "true" }, make("span", { className: "range" }), make("span", { className: "dot" }));
  for (const [key, share] of Object.entries({ value, low, high })) scale.style.setProperty(`--${key}`, share);
  const where = { test: "test", val: "validation", train: "training" }[part] ?? part ?? "";
  return make(
    "section",
    { className: "accuracy" },
    make("h3", { textContent: "How often it is right" }),
    make("p", {}, make("strong", { textContent: percent(value) }), images ? ` of ${count(images)} ${where} images` : ""),
    scale,
    make("p", { className: "quiet", textContent: `between ${percent(low)} and ${percent(high)}, with 95\u202f% confidence` }),
  );
}

function drawConfusions(confusions) {
  const rows = confusions.slice(0, MOST_CONFUSIONS).map(({ truth, predicted, count: times }) =>
    make("tr", {}, make("td", {}, named(truth)), make("td", {}, named(predicted)), make("td", { textContent: count(times) })),
  );
  const head = make("tr", {}, ...["it was", "it said", "times"].map((text) => make("th", { scope: "col", textContent: text })));
  return make("section", {}, make("h3", { textContent: "Commonest mistakes" }), make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

function drawClasses(names) {
  const list = make("ul", {}, ...names.map((name) => make("li", {}, named(name))));
  const scrolled = make("div", { className: "scrolled", tabIndex: 0, role: "group", ariaLabel: "Classes" }, list);
  return make("details", {}, make("summary", { textContent: `${count(names.length)} classes` }), scrolled);
}
