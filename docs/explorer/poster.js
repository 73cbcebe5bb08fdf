// The posters: fetched when they are asked for, put into the page, and kept true to the numbers. A poster is drawn when the site is built, at the
// network's own size and classes; shapes and costs in it are written anew for others. `data-rows` says which rows of the table a block stands for.
"use strict";

const posters = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const SHAPE = /\d+x\d+x\d+/g;
  const asked = new Map(); // the scripts that were begun, by key
  const texts = new Map(); // the drawings that came

  /** The drawing called `key`, as text. */
  function fetchPoster(key) {
    if (!asked.has(key)) {
      asked.set(key, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `posters/${key}.js`;
        script.addEventListener("load", () => resolve(texts.get(key)));
        script.addEventListener("error", () => {
          asked.delete(key);
          reject(new Error("The drawing can't be loaded. The table has all of it."));
        });
        document.head.append(script);
      }));
    }
    return asked.get(key);
  }

  const rowsOf = (element) => element.dataset.rows?.split(", ") ?? [];

  /** The drawing as an element, its blocks found; suffix: what makes its arrowhead's name its own on the page. */
  function prepare(text, suffix) {
    const svg = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
    svg.querySelector("marker").id = `arrow${suffix}`;
    for (const wire of svg.querySelectorAll("[marker-end]")) wire.setAttribute("marker-end", `url(#arrow${suffix})`);
    const panels = gather(svg);
    const schema = [...svg.children].filter((child) => child.matches("g[data-rows]:not(.module)"));
    const poster = { svg, panels, schema, blocks: [...schema, ...panels], size: ["width", "height"].map((side) => Number(svg.getAttribute(side))) };
    svg.removeAttribute("width");
    svg.removeAttribute("height");
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", "Blocks of the network; arrow keys go from one to the next");
    svg.querySelector(":scope > rect").classList.add("sheet");
    for (const block of poster.blocks) {
      block.setAttribute("role", "button");
      block.setAttribute("tabindex", block === poster.blocks[0] ? "0" : "-1");
    }
    return poster;
  }

  /** Put each panel and what lies in it, which is what follows it, into a group of its own. */
  function gather(svg) {
    const panels = [];
    for (const child of [...svg.children]) {
      if (child.matches("rect.panel")) {
        const group = document.createElementNS(SVG, "g");
        group.setAttribute("class", "module");
        group.dataset.rows = child.dataset.rows;
        child.before(group);
        panels.push(group);
      }
      panels.at(-1)?.append(child);
    }
    return panels;
  }

  // ---- numbers

  /** Write the shapes and costs of `table` into a poster that was drawn of `drawn`; classes: those of the two. */
  function refresh(poster, drawn, table, classes) {
    const [before, now] = [byName(drawn), byName(table)];
    writeSchema(poster, now, classes);
    for (const panel of poster.panels) writePanel(panel, before, now, classes);
    for (const block of poster.blocks) block.classList.toggle("absent", !rowsOf(block).every((name) => now.has(name)));
  }

  const byName = ({ rows, aux }) => new Map([...rows, ...aux].map((row) => [row.name, row]));

  function writeSchema({ svg, schema }, now, classes) {
    const image = svg.querySelector("g.end:not([data-rows])");
    write(shapeBeside(image), words.shapeText(now.values().next().value.reads));
    const head = now.get("head").seen;
    let place = 0;
    for (const block of schema) {
      const [last] = rowsOf(block).slice(-1);
      const shape = last === "head" ? head[place++]?.leaves : now.get(last)?.output;
      if (shape && shapeBeside(block)) write(shapeBeside(block), words.shapeText(shape));
      describe(block, shape);
    }
    const top = schema.at(-1);
    const isGone = !classes.now && classes.before > 0;
    for (const part of [top, shapeBeside(top), top.previousElementSibling]) part?.classList.toggle("gone", isGone);
    for (const text of top.querySelectorAll("text")) {
      if (/^\d+ classes$/.test(text.textContent)) write(text, `${classes.now} classes`);
    }
  }

  function describe(block, shape) {
    const lines = [...block.querySelectorAll("text")].map((text) => text.textContent);
    block.setAttribute("aria-label", [...lines, ...(shape ? [`leaves ${words.shapeText(shape)}`] : [])].join(", "));
  }

  const shapeBeside = (block) => (block.nextElementSibling?.matches("text") ? block.nextElementSibling : null);

  function writePanel(panel, before, now, classes) {
    const names = rowsOf(panel);
    const [title, subtitle] = panel.querySelectorAll(":scope > text");
    panel.setAttribute("aria-label", `Inside ${title.textContent}`);
    const rows = names.map((name) => now.get(name)).filter(Boolean);
    if (rows.length < names.length) return;
    write(subtitle, words.costText(rows));
    const shapes = new Map(names.flatMap((name) => pairsOf(before.get(name), now.get(name))));
    const isSide = names[0].startsWith("aux ");
    for (const text of panel.querySelectorAll("g text")) {
      const drawn = (text.dataset.drawn ??= text.textContent);
      if (isSide && drawn === `fully connected (${Math.max(classes.before, 1)})`) write(text, `fully connected (${Math.max(classes.now, 1)})`);
      else write(text, shapes.get(drawn) ?? drawn.replace(SHAPE, (shape) => shapes.get(shape) ?? shape));
    }
  }

  /** Every shape in a row as it was drawn, with what it is now. */
  function pairsOf(drawn, row) {
    const shapes = ({ reads, output, seen }) => [reads, output, ...seen.flatMap((entry) => [entry.reads, entry.leaves])].map(words.shapeText);
    const now = shapes(row);
    return shapes(drawn).map((shape, place) => [shape, now[place]]);
  }

  function write(text, content) {
    if (text.textContent !== content) text.textContent = content;
  }

  // ---- blocks

  /** Show which row is chosen. */
  function mark(poster, row) {
    const chosen = poster.blocks.filter((block) => rowsOf(block).includes(row));
    for (const block of poster.blocks) {
      block.classList.toggle("chosen", chosen.includes(block));
      block.setAttribute("aria-pressed", String(chosen.includes(block)));
    }
    return chosen[0];
  }

  /** Have blocks chosen by mouse and keyboard; of several rows in one block the next is taken each time. */
  function listen(poster, chosen, choose) {
    const press = (block) => {
      const names = rowsOf(block);
      choose(names[(names.indexOf(chosen()) + 1) % names.length]);
    };
    const blockOf = (event) => event.target.closest("[role=button]");
    poster.svg.addEventListener("click", (event) => blockOf(event) && press(blockOf(event)));
    poster.svg.addEventListener("keydown", (event) => {
      const block = blockOf(event);
      if (!block) return;
      if (event.key === "Enter" || event.key === " ") press(block);
      else if (!step(poster, block, event.key)) return;
      event.preventDefault();
    });
  }

  function step({ blocks }, block, key) {
    const shown = blocks.filter((one) => !one.classList.contains("gone"));
    const place = shown.indexOf(block);
    const places = { ArrowUp: place + 1, ArrowRight: place + 1, ArrowDown: place - 1, ArrowLeft: place - 1, Home: 0, End: shown.length - 1 };
    const next = shown[places[key]];
    if (!next) return key in places;
    block.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
    return true;
  }

  /** The panel of a row as a drawing of its own; null where it has none. */
  function cutOut({ panels }, row) {
    const panel = panels.find((one) => rowsOf(one).includes(row));
    if (!panel || panel.classList.contains("absent")) return null;
    const svg = document.createElementNS(SVG, "svg");
    const [x, y, width, height] = innerBox(panel);
    svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
    svg.style.setProperty("--wide", `${width}px`);
    svg.setAttribute("class", "poster");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Drawing of ${row}; the layers are listed below`);
    const copies = [...panel.querySelectorAll(":scope > g, :scope > polyline, :scope > text")].slice(2).map((part) => part.cloneNode(true));
    svg.append(...copies);
    svg.setAttribute("font-family", panel.ownerSVGElement.getAttribute("font-family"));
    svg.setAttribute("font-size", panel.ownerSVGElement.getAttribute("font-size"));
    return svg;
  }

  /** Where the drawing in a panel lies, without title and margins: it stands in the middle of the panel's foot. */
  function innerBox(panel) {
    const boxes = [...panel.querySelectorAll(":scope > :is(g, polyline, text)")].slice(2).map((part) => part.getBBox());
    const [left, top] = [Math.min(...boxes.map((box) => box.x)), Math.min(...boxes.map((box) => box.y))];
    const right = Math.max(...boxes.map((box) => box.x + box.width));
    const bottom = Math.max(...boxes.map((box) => box.y + box.height));
    return [left - 4, top - 4, right - left + 8, bottom - top + 8];
  }

  return { fetchPoster, prepare, refresh, mark, listen, cutOut, keep: (key, text) => texts.set(key, text) };
})();

/** What a script in posters/ calls with its drawing. */
const keepPoster = posters.keep;
