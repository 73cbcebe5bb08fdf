// What the page shows of a network as elements of HTML: totals, the table of stages, one stage in detail, two networks compared.
"use strict";

const drawing = (() => {
  const count = (number) => number.toLocaleString("en");
  const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)}\u202f%` : "");

  /** An element with its properties and what is in it. */
  function make(tag, properties = {}, ...inside) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...inside.filter((part) => part !== null));
    return element;
  }

  const term = (name, ...said) => make("div", {}, make("dt", { textContent: name }), make("dd", {}, ...said));

  /** The part of the image that a cell sees: `63`, `63x47` or `all` of it. */
  function fieldText([height, width]) {
    if (height === Infinity) return "all";
    return height === width ? count(height) : `${count(height)}x${count(width)}`;
  }

  // ---- totals

  /** What is counted of a whole network: words, the number and how it is written. */
  function measures(table) {
    const last = table.rows.at(-2);
    const aux = table.aux.length ? [["With auxiliary heads", table.parameters_with_aux, count(table.parameters_with_aux)]] : [];
    return [
      ["Parameters", table.parameters, count(table.parameters)],
      ...aux,
      ["Multiply-adds", table.multiply_adds, count(table.multiply_adds)],
      ["Last grid", null, `${words.shapeText(last.output)}`],
      ["Receptive field", last.flow.field[0], `${fieldText(last.flow.field)}\u202fpx`],
    ];
  }

  const drawTotals = (table) => measures(table).map(([name, , written]) => term(name, written));

  /** Two networks measure by measure, with bars of the larger of the two. */
  function drawComparison(networks) {
    const columns = networks.map(({ table }) => new Map(measures(table).map(([name, ...rest]) => [name, rest])));
    const names = [...new Set(columns.flatMap((column) => [...column.keys()]))];
    const head = make("tr", {}, make("td"), ...networks.map(({ title, words: said }) =>
      make("th", { scope: "col" }, title, make("span", { className: "quiet", textContent: said }))));
    const rows = names.map((name) => {
      const most = Math.max(...columns.map((column) => column.get(name)?.[0] ?? 0));
      const cells = columns.map((column) => (column.has(name) ? barred(column.get(name)[1], column.get(name)[0] / most) : make("td", { textContent: "none" })));
      return make("tr", {}, make("th", { scope: "row", textContent: name }), ...cells);
    });
    return make("table", { className: "compared" }, make("thead", {}, head), make("tbody", {}, ...rows));
  }

  function barred(text, part) {
    const cell = make("td", { className: "number" }, make("span", { className: "value", textContent: text }));
    if (part > 0) {
      const bar = make("span", { className: "bar", ariaHidden: "true" });
      bar.style.setProperty("--share", part);
      cell.append(bar);
    }
    return cell;
  }

  // ---- the table

  const HEADS = ["Stage", "Output", "Field, px", "Parameters", "Multiply-adds"];

  /** All stages, head and auxiliary heads; `chosen` is the row that is looked at, and `choose` is told of another. */
  function drawTable(table, chosen, choose) {
    const heads = HEADS.map((text, place) => make("th", { scope: "col", textContent: text, className: place ? "number" : "" }));
    const most = (name) => Math.max(...table.rows.map((row) => row[name]));
    const peaks = { parameters: most("parameters"), multiply_adds: most("multiply_adds") };
    const rows = [...table.rows, ...table.aux].map((row) => drawRow(row, peaks, chosen, choose));
    const foot = [["Total", table.parameters, table.multiply_adds]];
    if (table.aux.length) foot.push(["With auxiliary heads", table.parameters_with_aux, null]);
    const feet = foot.map(([name, ...numbers]) => make("tr", {}, make("th", { scope: "row", colSpan: 3, textContent: name }), ...numbers.map(
      (number) => make("td", { className: "number", textContent: number === null ? "" : count(number) }))));
    const caption = make("caption", { textContent: "Stages, from the image to the classifier" });
    return make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows), make("tfoot", {}, ...feet));
  }

  function drawRow(row, peaks, chosen, choose) {
    const button = make("button", { type: "button", textContent: row.name, ariaPressed: String(row.name === chosen) });
    const name = make("th", { scope: "row" }, button, make("span", { className: "node", textContent: words.label(row.node).replaceAll("→", "→\u200b") }));
    const output = make("td", { className: "number", textContent: `${arithmetic.grid(row.output)}x${row.output[0]}` });
    const field = make("td", { className: "number", textContent: fieldText(row.flow.field) });
    const costs = Object.entries(peaks).map(([key, peak]) => barred(count(row[key]), Math.min(row[key] / peak, 1)));
    const line = make("tr", { className: row.name === chosen ? "chosen" : "" }, name, output, field, ...costs);
    line.dataset.row = row.name;
    line.addEventListener("click", () => choose(row.name));
    return line;
  }

  // ---- one stage

  /** A row in detail: numbers, its drawing where there is one, layer by layer, and as code. */
  function drawDetails(row, table, figure) {
    const [step] = row.flow.step;
    const sees = row.flow.field[0] === Infinity ? "the whole image" : `${fieldText(row.flow.field)} pixels${arithmetic.grid(row.output) === "1x1" ? "" : `, ${count(step)} from cell to cell`}`;
    const facts = make(
      "dl",
      { className: "facts" },
      term("Reads", words.shapeText(row.reads)),
      term("Leaves", words.shapeText(row.output)),
      term("Parameters", count(row.parameters), make("span", { className: "quiet", textContent: ` ${share(row.parameters, table.parameters)}` })),
      term("Multiply-adds", count(row.multiply_adds), make("span", { className: "quiet", textContent: ` ${share(row.multiply_adds, table.multiply_adds)}` })),
      term("Receptive field", sees),
    );
    const layers = row.seen.filter(({ node }) => node.type !== "Parallel" && node.type !== "Residual");
    return [
      make("h3", { textContent: row.name === "head" ? "Head" : row.name.startsWith("aux ") ? `Auxiliary head on ${row.name.slice(4)}` : `Stage ${row.name}` }),
      facts,
      figure ? make("div", { className: "figure pushed", tabIndex: 0, role: "group", ariaLabel: "Drawing of the stage" }, figure) : null,
      layers.length > 1 ? drawLayers(layers) : null,
      make("h4", { textContent: "As code" }),
      make("pre", { tabIndex: 0, role: "group", ariaLabel: "Code" }, make("code", { textContent: words.code(row.node) })),
    ].filter(Boolean);
  }

  function drawLayers(layers) {
    const heads = ["Layer", "Leaves", "Parameters", "Multiply-adds"].map((text, place) => make("th", { scope: "col", textContent: text, className: place ? "number" : "" }));
    const rows = layers.map(({ node, path, leaves, cost }) => {
      const where = path.length ? make("span", { className: "quiet", textContent: path.join(" / ") }) : null;
      const numbers = [words.shapeText(leaves), count(cost.parameters), count(cost.multiply_adds)];
      const cells = numbers.map((text) => make("td", { className: "number", textContent: text }));
      return make("tr", {}, make("th", { scope: "row" }, words.label(node), where), ...cells);
    });
    const table = make("table", { className: "layers" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
    const summary = make("summary", { textContent: `Its ${layers.length} layers` });
    return make("details", { open: layers.length <= 12 }, summary, make("div", { className: "pushed", tabIndex: 0, role: "group", ariaLabel: "Table of layers" }, table));
  }

  // ---- words

  function drawLegend(svg, habit) {
    const swatches = Object.entries(family.legend).filter(([kind]) => svg.querySelector(`g.${kind}`)).map(([, { words: said, fill, stroke }]) => {
      const swatch = make("span", { className: "swatch", ariaHidden: "true" });
      swatch.style.setProperty("--fill", fill);
      swatch.style.setProperty("--stroke", stroke);
      return make("span", { className: "kind" }, swatch, said);
    });
    return [make("p", {}, ...swatches), make("p", { textContent: habit })];
  }

  /** What else there is to say; asked: what was changed. */
  function drawNotes(network, table, asked) {
    const gone = network.aux.length - table.aux.length;
    const differs = network.differs_from_paper.map((text) => make("li", { textContent: text }));
    const command = [`inceptions describe ${network.name}`, asked.size && `--image-size ${asked.size}`, asked.classes !== null && `--num-classes ${asked.classes}`];
    const page = make("a", { href: `../family/${network.name}/index.html`, textContent: "Its page" });
    return [
      gone ? make("p", { textContent: "Without auxiliary heads: they are left out where one doesn't fit, or stands on a grid that dilation changed." }) : null,
      make("p", {}, "The same in a terminal: ", make("code", { textContent: command.filter(Boolean).join(" ") })),
      asked.stride ? make("p", {}, "The output stride is Python's: ", make("code", { textContent: `dilate(get_network("${network.name}"), ${asked.stride})` })) : null,
      make("p", {}, page, " has its weights and numerics."),
      differs.length ? make("details", {}, make("summary", { textContent: "What differs from the paper" }), make("ul", {}, ...differs)) : null,
    ].filter(Boolean);
  }

  return { make, count, drawTotals, drawComparison, drawTable, drawDetails, drawLegend, drawNotes };
})();
