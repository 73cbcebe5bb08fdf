// The page: takes pictures that are dropped, pasted, chosen or photographed, has `classifier.js` answer them, and shows what it says.
// classifier.js is remote.js where a server answers, and local.js where the network runs in the browser.

import { setUpCamera } from "./camera.js";
import { drawAnswer, drawCard, drawOption, drawPicture, percent, sayProblem } from "./draw.js";

const TOP_K = 5;
const AT_ONCE = 4; // pictures that are on the way
const byId = (id) => document.getElementById(id);

let classifier; // once it is loaded
let opening = false;
let standing = ""; // why no picture can be answered, until that is mended
let models = [];
let pictures = []; // as drawPicture gives them, the newest first
let waiting = []; // those that nobody has begun
let running = 0;
let batch = fresh(); // what the status counts

function fresh() {
  return { asked: 0, answered: 0, failed: 0, seconds: 0, last: null };
}

// The model

/** Open the models. Where that fails every picture says why, and the next one has it tried again. */
async function open() {
  if (opening) return;
  opening = true;
  standing = "";
  say("Starting…");
  let reason;
  try {
    models = await openModels();
    reason = sayWhyNone();
  } catch (error) {
    reason = error.message;
  }
  opening = false;
  byId("model").replaceChildren(...models.map(drawOption));
  byId("chooser").hidden = models.length < 2;
  if (chosen()) {
    say("Ready.");
    chooseModel();
    return;
  }
  giveUp(reason);
  for (const picture of pictures) drawAnswer(picture, { error: { detail: reason } });
}

async function openModels() {
  classifier ??= await loadClassifier();
  return withToken(() => classifier.openModels());
}

async function loadClassifier() {
  let script;
  try {
    script = await import("./classifier.js");
  } catch {
    throw new Error("classifier.js can't be loaded; see whether the server runs, or copy the whole folder to it, and load the page again.");
  }
  byId("note").textContent = script.note;
  script.onLoading?.(showLoading);
  script.onFailure?.(giveUp);
  return script;
}

function sayWhyNone() {
  if (!models.length) return "No model is served here; start the server with one.";
  const why = models.map(({ name, reason }) => (reason ? `${name} is not ready (${reason})` : `${name} is not ready`));
  return `${why.join(", ")}; give a picture again in a moment.`;
}

/** Say why no picture can be answered, for as long as that holds. */
function giveUp(reason) {
  standing = reason;
  byId("loading").hidden = true;
  complain("");
  say("");
}

const chosen = () => models.find(({ name, ready = true }) => ready && name === byId("model").value);
const hasHeatMaps = () => classifier.hasHeatMaps && chosen().heat_maps !== false;

function chooseModel() {
  byId("card").hidden = false;
  byId("card").replaceChildren(...drawCard(chosen()));
  byId("heat").hidden = !hasHeatMaps();
  askAgain();
}

/** What `ask` gives, after the token where one is asked for. */
async function withToken(ask) {
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await ask();
    } catch (error) {
      if (!error.needsToken) throw error;
      classifier.setToken(await askForToken(isFirst ? "" : error.message));
    }
  }
}

let asking; // one window, however many pictures wait for it

function askForToken(refused) {
  const dialog = byId("ask");
  asking ??= new Promise((resolve, reject) => {
    byId("refused").textContent = refused;
    byId("token").value = dialog.returnValue = "";
    dialog.showModal();
    const settle = () => {
      asking = null;
      if (dialog.returnValue) resolve(byId("token").value);
      else reject(new Error("No token was given; give a picture again to be asked for it."));
    };
    dialog.addEventListener("close", settle, { once: true });
  });
  return asking;
}

// Pictures

/** Show files that were given and have them answered; what is no picture gets its answer too. */
function take(files, trouble = "") {
  if (files.length && !chosen()) open();
  complain(trouble);
  if (!files.length) return;
  const added = [...files].map(drawPicture);
  pictures = [...added, ...pictures];
  byId("results").prepend(...added.map(({ card }) => card));
  if (chosen()) ask(added); // otherwise they are answered when the models are open, or can't be
  else showState();
}

function ask(some) {
  if (!running) batch = fresh();
  batch.asked += some.length;
  waiting.push(...some);
  showState();
  while (running < AT_ONCE && waiting.length) work();
}

/** Ask for every picture anew: another model, or heat maps. */
function askAgain() {
  waiting = [];
  batch = fresh();
  if (pictures.length) ask(pictures);
}

async function work() {
  running += 1;
  try {
    while (waiting.length) await answer(waiting.shift(), batch);
  } finally {
    running -= 1;
  }
}

async function answer(picture, mine) {
  const [model, heatMap, began] = [byId("model").value, byId("heated").checked && hasHeatMaps(), performance.now()];
  picture.card.setAttribute("aria-busy", "true");
  let prediction;
  try {
    [prediction] = await withToken(() => classifier.predict(model, [picture.file], { topK: TOP_K, heatMap }));
  } catch (error) {
    prediction = { error: { detail: error.message } };
  }
  if (mine !== batch || !pictures.includes(picture)) return; // asked anew by now, or cleared away
  picture.card.removeAttribute("aria-busy");
  drawAnswer(picture, prediction);
  mine.answered += 1;
  mine.failed += prediction.error ? 1 : 0;
  mine.seconds += prediction.seconds ?? (performance.now() - began) / 1000;
  mine.last = { picture, prediction };
  showState();
}

function clear() {
  for (const { address } of pictures) URL.revokeObjectURL(address);
  [pictures, waiting, batch] = [[], [], fresh()];
  byId("results").replaceChildren();
  showState();
  complain("");
  say(chosen() && !standing ? "Ready." : "");
  byId("choose").focus();
}

// What is said

const say = (text) => (byId("status").textContent = text);

function complain(text) {
  byId("trouble").textContent = text || standing;
  byId("trouble").hidden = !(text || standing);
}

function showState() {
  document.body.classList.toggle("filled", pictures.length > 0);
  document.body.classList.toggle("busy", batch.asked > batch.answered);
  byId("results").classList.toggle("alone", pictures.length === 1);
  byId("clear").hidden = !pictures.length;
  if (!batch.asked) return;
  if (batch.answered < batch.asked) say(batch.asked === 1 ? "Looking…" : `${batch.answered} of ${batch.asked} answered…`);
  else say(batch.asked === 1 ? sayOne(batch) : sayMany(batch));
}

function sayOne({ last: { picture, prediction }, seconds }) {
  if (prediction.error) return `${picture.file.name}: ${sayProblem(prediction.error)}`;
  const [first] = prediction.classes;
  return first ? `${first.class}, ${percent(first.probability)}, in ${inSeconds(seconds)}` : "Done.";
}

function sayMany({ answered, failed, seconds }) {
  const right = answered - failed;
  return `${failed ? `${right} of ` : ""}${answered} pictures answered, ${failed ? `${failed} refused, ` : ""}${inSeconds(seconds / answered)} each`;
}

const inSeconds = (seconds) => `${seconds < 10 ? seconds.toFixed(2) : Math.round(seconds)}\u202fs`;

function showLoading({ loaded, total }) {
  byId("loading").value = loaded / total;
  byId("loading").hidden = loaded >= total;
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  if (loaded < total) say(`Loading the network: ${megabytes(loaded)} of ${megabytes(total)} MB`);
  else if (batch.asked) showState();
  else say("Ready.");
}

// What people do

byId("choose").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", ({ target }) => {
  take(target.files);
  target.value = "";
});
byId("clear").addEventListener("click", clear);
byId("model").addEventListener("change", chooseModel);
byId("heated").addEventListener("change", ({ target }) => {
  byId("fader").hidden = !target.checked;
  askAgain();
});
byId("opacity").addEventListener("input", ({ target }) => {
  byId("results").style.setProperty("--heat", target.value / 100);
  byId("shown").value = `${target.value} %`;
});
addEventListener("paste", ({ clipboardData }) => clipboardData?.files.length && take(clipboardData.files));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", ({ relatedTarget }) => !relatedTarget && document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const isFolder = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()?.isDirectory);
  const files = [...event.dataTransfer.files].filter((file, place) => !isFolder[place]);
  take(files, isFolder.includes(true) ? "A folder can't be dropped; give the pictures in it." : "");
});
byId("stuck").remove();
setUpCamera(take);
open();
