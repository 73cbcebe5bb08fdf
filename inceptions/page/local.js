// Answers of a network that runs in this browser (`inceptions export MODEL --to web FOLDER`), for page.js. The work is done in worker.js,
// so that the page doesn't freeze.

export const hasHeatMaps = false;
export const note = "Pictures stay on this device: the network runs in your browser.";

let worker;
let asked = 0;
let tell = () => {};
const waiting = new Map(); // by number of the question

/** Have `listener` told {loaded, total}, in bytes, while the network is on its way. */
export function onLoading(listener) {
  tell = listener;
}

export async function openModels() {
  const response = await fetch(new URL("card.json", import.meta.url));
  if (!response.ok) throw new Error(`card.json can't be read (${response.status}); copy the whole folder to the server.`);
  const card = await response.json();
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }) => (data.loading ? tell(data.loading) : settle(data)));
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    for (const number of waiting.keys()) settle({ number, failure: `The network can't be run: ${event.message || "worker.js is missing"}` });
  });
  worker.postMessage({ card });
  return [card];
}

export function predict(name, files, { topK = 5 } = {}) {
  return Promise.all([...files].map((file) => answer(file, topK)));
}

function answer(file, topK) {
  return new Promise((resolve, reject) => {
    asked += 1;
    waiting.set(asked, { resolve, reject });
    worker.postMessage({ number: asked, file, topK });
  });
}

function settle({ number, prediction, failure }) {
  const { resolve, reject } = waiting.get(number);
  waiting.delete(number);
  if (failure) reject(new Error(failure));
  else resolve(prediction);
}
