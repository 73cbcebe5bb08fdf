// Answers of a network that runs in this browser (`inceptions export MODEL --to web FOLDER`), for page.js. The work is done in worker.js,
// so that the page doesn't freeze.

export const hasHeatMaps = false;
export const note = "Pictures stay on this device: the network runs in your browser.";

const MISSING = "a file of the page is missing; copy the whole folder to the server, and load the page again.";

let worker;
let broken; // why nothing can be answered, once that is known
let asked = 0;
let tell = () => {};
let complain = () => {};
const waiting = new Map(); // by number of the question
let begin;
const begun = new Promise((resolve) => (begin = resolve)); // there is a worker, or why there will be none: questions may come sooner

/** Have `listener` told {loaded, total}, in bytes, while the network is on its way. */
export function onLoading(listener) {
  tell = listener;
}

/** Have `listener` told why the network can't be run, as soon as that is known. */
export function onFailure(listener) {
  complain = listener;
}

export async function openModels() {
  try {
    const card = await readCard();
    worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.addEventListener("message", ({ data }) => hear(data));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      fail(`The network can't be run: ${event.message || MISSING}`);
    });
    worker.postMessage({ card });
    return [card];
  } catch (error) {
    broken = error;
    throw error;
  } finally {
    begin();
  }
}

async function readCard() {
  const response = await fetch(new URL("card.json", import.meta.url));
  if (!response.ok) throw new Error(`card.json can't be read (${response.status}); copy the whole folder to the server.`);
  return response.json();
}

export function predict(name, files, { topK = 5 } = {}) {
  return Promise.all([...files].map((file) => answer(file, topK)));
}

async function answer(file, topK) {
  await begun;
  if (broken) throw broken;
  return new Promise((resolve, reject) => {
    asked += 1;
    waiting.set(asked, { resolve, reject });
    worker.postMessage({ number: asked, file, topK });
  });
}

function hear({ loading, failure, number, prediction }) {
  if (failure) fail(failure);
  if (broken) return;
  if (loading) tell(loading);
  else {
    waiting.get(number).resolve(prediction);
    waiting.delete(number);
  }
}

function fail(reason) {
  if (broken) return; // what comes later follows from the first
  broken = new Error(reason);
  for (const { reject } of waiting.values()) reject(broken);
  waiting.clear();
  complain(reason);
}
