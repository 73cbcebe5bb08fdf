// The page: one network, or two beside each other. Each has a place with its own choices, which are also in the address, after the #.
"use strict";

(() => {
  const { make, count } = drawing;
  const NETWORKS = new Map(arithmetic.expand(family.networks, family.fields).map((network) => [network.name, network]));
  const FIRST = "inception_v3";
  const SECOND = "xception";
  const LIMITS = { size: [1, 10_000, "Image size", "pixels"], classes: [0, 1_000_000, "Classes", "outputs"] };
  const [SMALL, LARGE, ZOOM, LEGIBLE] = [0.2, 2, 1.25, 0.75];
  const panes = []; // one or two
  const byId = (id) => document.getElementById(id);

  // ---- the address

  /** What the address asks for, of each place: a=NAME&a.size=224&a.classes=10&a.stride=16&a.row=5b, and the same with b. */
  function readAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const read = (place) => {
      const choice = { name: asked.get(place), row: asked.get(`${place}.row`) };
      for (const key of ["size", "classes", "stride"]) choice[key] = asked.get(`${place}.${key}`);
      return choice;
    };
    const found = [{ ...read("a"), name: NETWORKS.has(asked.get("a")) ? asked.get("a") : FIRST }];
    return NETWORKS.has(asked.get("b")) ? [...found, read("b")] : found;
  }

  function writeAddress() {
    const asked = new URLSearchParams();
    panes.forEach(({ choice }, index) => {
      const place = "ab"[index];
      asked.set(place, choice.name);
      for (const key of ["size", "classes", "stride", "row"]) if (choice[key] !== null) asked.set(`${place}.${key}`, choice[key]);
    });
    if (location.hash.slice(1) !== asked.toString()) history.replaceState(null, "", `#${asked}`);
  }

  // ---- what follows from the choices

  /** The network as it was chosen, or what is wrong with the choice. */
  function consider({ name, size, classes, stride }) {
    const own = NETWORKS.get(name);
    for (const [key, value] of Object.entries({ size, classes })) {
      const [least, most, words, unit] = LIMITS[key];
      if (value !== null && !(/^\d+$/.test(value) && value >= least && value <= most)) {
        return { own, wrong: key, problem: `${words} is ${JSON.stringify(value)}; give a whole number of ${unit} from ${count(least)} to ${count(most)}` };
      }
    }
    let network = classes === null ? own : arithmetic.withClasses(own, Number(classes));
    const factor = arithmetic.reduction(own);
    const isDilated = stride !== null && family.strides.includes(Number(stride)) && stride < factor;
    const base = isDilated ? arithmetic.dilate(own, Number(stride)) : own;
    if (isDilated) network = arithmetic.dilate(network, Number(stride));
    const pixels = size === null ? own.image_size : Number(size);
    const refused = arithmetic.refuse(network, pixels);
    if (refused) return { own, wrong: "size", problem: refused.message, better: refused.better };
    const endsInEmbedding = !own.classes && [own.embedding].flat().length > 0;
    const hasNew = endsInEmbedding && network.classes > 0; // a classifier where the drawing has none
    const drawn = hasNew ? arithmetic.withClasses(base, 1000) : base;
    const key = [own.name, ...(hasNew ? ["classes"] : []), ...(isDilated ? [Number(stride)] : [])].join("-");
    return { own, network, pixels, drawn, key, table: arithmetic.trace(network, pixels), stride: isDilated ? Number(stride) : null };
  }

  const rowsIn = ({ rows, aux }) => [...rows, ...aux];
  const firstRow = ({ rows }) => (rows.find(({ seen }) => seen.some(({ node }) => node.type === "Parallel" || node.type === "Residual")) ?? rows[0]).name;

  // ---- a place

  class Pane {
    constructor(choice) {
      this.choice = choice;
      this.element = byId("pane").content.cloneNode(true).firstElementChild;
      this.zoom = null;
      this.part("name").append(...[...NETWORKS.keys()].map((name) => make("option", { value: name, textContent: name })));
      this.listen();
    }

    part(name) {
      return this.element.querySelector(`.${name}`);
    }

    listen() {
      this.part("name").addEventListener("change", (event) => this.change({ name: event.target.value, stride: null, row: null }));
      for (const key of ["size", "classes"]) {
        const field = this.part(key);
        const read = () => (field.validity.badInput ? "no number" : field.value === String(this.ownValue(key)) ? null : field.value);
        // While a number is being typed only what can be is shown: on the way to 224 lies 2.
        field.addEventListener("input", () => consider({ ...this.choice, [key]: read() }).wrong ?? this.change({ [key]: read() }));
        // What is shown already stays as it is, or a press on a row, which ends the typing, would find another row in its place.
        field.addEventListener("change", () => (read() === this.choice[key] && !this.found.wrong) || this.change({ [key]: read() }));
      }
      this.part("stride").addEventListener("change", (event) => this.change({ stride: event.target.value || null }));
      this.part("reset").addEventListener("click", () => {
        this.change({ size: null, classes: null, stride: null });
        this.part("size").focus();
      });
      this.part("compare").addEventListener("click", () => addPane());
      this.part("remove").addEventListener("click", () => removePane(this));
      this.part("smaller").addEventListener("click", () => this.resize(this.zoom / ZOOM));
      this.part("larger").addEventListener("click", () => this.resize(this.zoom * ZOOM));
      this.part("whole").addEventListener("click", () => this.resize(this.fitting()));
    }

    ownValue(key) {
      const own = NETWORKS.get(this.choice.name);
      return key === "size" ? own.image_size : own.classes;
    }

    change(changes) {
      Object.assign(this.choice, changes);
      this.show();
      writeAddress();
      compare();
    }

    /** Show what was chosen, all of it. */
    show() {
      this.found = consider(this.choice);
      const { own, table, wrong } = this.found;
      this.element.setAttribute("aria-label", own.title);
      this.part("title").textContent = own.title;
      this.part("source").textContent = own.source;
      this.showControls();
      this.showProblem();
      this.part("found").hidden = Boolean(wrong);
      this.part("totals").hidden = Boolean(wrong);
      if (wrong) return;
      if (!rowsIn(table).some(({ name }) => name === this.choice.row)) this.choice.row = null;
      this.part("totals").replaceChildren(...drawing.drawTotals(table));
      this.part("notes").replaceChildren(...drawing.drawNotes(own, table, { ...this.choice, stride: this.found.stride }));
      this.part("status").textContent = `${own.title} at ${this.found.pixels} pixels: ${words.costText([table])}`;
      this.showRow();
      this.showPoster(this.found);
    }

    showControls() {
      const { own } = this.found;
      const { choice } = this;
      this.part("name").value = choice.name;
      for (const key of ["size", "classes"]) {
        const field = this.part(key);
        if (document.activeElement !== field) field.value = choice[key] ?? this.ownValue(key);
        field.setAttribute("aria-invalid", String(this.found.wrong === key));
      }
      const factor = arithmetic.reduction(own);
      const options = family.strides.filter((stride) => stride < factor).map((stride) => make("option", { value: stride, textContent: stride }));
      const select = this.part("stride");
      select.replaceChildren(make("option", { value: "", textContent: factor }), ...options.reverse());
      select.value = options.some(({ value }) => value === choice.stride) ? choice.stride : "";
      this.part("reset").hidden = choice.size === null && choice.classes === null && !select.value;
      this.part("compare").hidden = panes.length > 1;
      this.part("remove").hidden = panes.length < 2;
    }

    showProblem() {
      const { problem, better = [] } = this.found;
      const element = this.part("problem");
      element.hidden = !problem;
      if (!problem) return element.replaceChildren();
      const buttons = better.map((size) => make("button", { type: "button", textContent: `Take ${size} pixels` }));
      buttons.forEach((button, index) => button.addEventListener("click", () => {
        this.part("size").focus();
        this.part("size").value = better[index];
        this.change({ size: better[index] === this.ownValue("size") ? null : String(better[index]) });
      }));
      element.replaceChildren(make("p", { textContent: `${problem}.` }), ...buttons);
    }

    /** Show the row that is chosen, in the table, the drawing and by itself. */
    showRow() {
      const { table } = this.found;
      const name = this.choice.row ?? firstRow(table);
      const stages = this.part("stages");
      const focused = stages.contains(document.activeElement) && document.activeElement.closest("tr")?.dataset.row;
      stages.replaceChildren(drawing.drawTable(table, name, (chosen) => this.choose(chosen)));
      if (focused) stages.querySelector(`[data-row="${CSS.escape(focused)}"] button`)?.focus({ preventScroll: true });
      const row = rowsIn(table).find((one) => one.name === name);
      if (this.poster) posters.mark(this.poster, name);
      this.part("details").replaceChildren(...drawing.drawDetails(row, table, this.poster ? posters.cutOut(this.poster, name) : null));
    }

    choose(row) {
      this.choice.row = row;
      this.showRow();
      writeAddress();
      const details = this.part("details").getBoundingClientRect();
      if (details.bottom < 80 || details.top > innerHeight - 80) this.part("details").scrollIntoView({ block: "start" });
      if (this.poster) this.reveal();
    }

    // The drawing

    async showPoster({ key, own, drawn, network, table }) {
      const viewport = this.part("viewport");
      if (this.drawnKey !== key) {
        this.drawnKey = key;
        this.poster = null;
        let text;
        try {
          text = await posters.fetchPoster(key);
        } catch (error) {
          if (this.drawnKey !== key) return;
          this.drawnKey = null;
          viewport.replaceChildren(make("p", { className: "quiet", textContent: error.message }));
          return;
        }
        if (this.drawnKey !== key || this.found.key !== key) return;
        ({ own, drawn, network, table } = this.found);
        this.poster = posters.prepare(text, `-${panes.indexOf(this)}`);
        this.poster.svg.classList.add("poster");
        posters.listen(this.poster, () => this.choice.row ?? firstRow(this.found.table), (row) => this.choose(row));
        viewport.setAttribute("aria-label", `Drawing of ${own.title}`);
        viewport.replaceChildren(this.poster.svg);
        this.part("legend").replaceChildren(...drawing.drawLegend(this.poster.svg, family.habits[own.name]));
        this.resize(Math.max(this.fitting(), LEGIBLE));
      }
      if (!this.poster) return;
      const classes = { before: drawn.classes, now: network.classes };
      posters.refresh(this.poster, arithmetic.trace(drawn, own.image_size), table, classes);
      this.showRow();
      this.reveal();
    }

    fitting() {
      const { clientWidth, clientHeight } = this.part("viewport");
      const [width, height] = this.poster.size;
      return Math.min(clientWidth / width, clientHeight / height, 1);
    }

    resize(zoom) {
      if (!this.poster) return;
      this.zoom = Math.min(Math.max(zoom, SMALL), LARGE);
      this.poster.svg.style.setProperty("width", `${this.poster.size[0] * this.zoom}px`);
      this.reveal();
    }

    /** Scroll the drawing, and not the page, to the block of the row that is chosen. */
    reveal() {
      const viewport = this.part("viewport");
      const block = this.poster.svg.querySelector(".chosen");
      if (!block || viewport.contains(document.activeElement)) return;
      const [outer, inner] = [viewport.getBoundingClientRect(), block.getBoundingClientRect()];
      viewport.scrollTop += inner.top + inner.height / 2 - outer.top - outer.height / 2;
      viewport.scrollLeft += Math.min(0, inner.left - outer.left - 16) + Math.max(0, inner.right - outer.right + 16);
    }
  }

  // ---- one or two

  function compare() {
    const both = panes.map(({ found }) => found).filter(({ wrong }) => !wrong);
    byId("comparison").hidden = both.length < 2;
    byId("panes").classList.toggle("told", both.length > 1); // the totals stand in the comparison
    if (both.length < 2) return;
    const named = both.map(({ own, pixels, network, stride, table }) => ({
      title: own.title,
      words: [`${pixels} px`, `${network.classes} classes`, stride && `stride ${stride}`].filter(Boolean).join(", "),
      table,
    }));
    byId("comparison").querySelector(".pushed").replaceChildren(drawing.drawComparison(named));
  }

  function addPane() {
    const { name, size, classes } = panes[0].choice;
    arrange([panes[0].choice, { name: name === SECOND ? FIRST : SECOND, size, classes, stride: null, row: null }]);
    writeAddress();
    panes[1].part("name").focus();
  }

  function removePane(pane) {
    arrange(panes.filter((one) => one !== pane).map(({ choice }) => choice));
    writeAddress();
    panes[0].part("compare").focus();
  }

  function arrange(choices) {
    panes.splice(0, panes.length, ...choices.map((choice) => new Pane(choice)));
    byId("panes").replaceChildren(...panes.map(({ element }) => element));
    byId("panes").classList.toggle("two", panes.length > 1);
    for (const pane of panes) pane.show();
    compare();
  }

  addEventListener("hashchange", () => arrange(readAddress()));
  arrange(readAddress());
})();
