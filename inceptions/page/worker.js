// The network itself, in a worker: takes the model's card, then pictures as files; posts how much is loaded, then classes for each
// picture, or why there will be none.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { crop, flatten, MAX_PIXELS } from "./preprocess.js";

const [MODEL, RUNTIME] = ["model.onnx", "ort-wasm-simd-threaded.wasm"]; // in card.files, with their bytes
const STRIP_PX = 512; // of rows that are read from a canvas at a time: telephones have no canvas for a whole photo
const READABLE = "JPEG, PNG, WebP, AVIF, GIF and BMP, if they are whole";

let opened; // the card with the session, once both are there
let last = Promise.resolve(); // pictures are answered one after the other

addEventListener("message", ({ data }) => {
  if (data.card) {
    opened = open(data.card);
    opened.catch(({ message }) => postMessage({ failure: message }));
  } else last = last.then(() => answer(data));
});

async function open(card) {
  const total = card.files[MODEL] + card.files[RUNTIME];
  let loaded = 0;
  const step = (bytes) => postMessage({ loading: { loaded: (loaded += bytes), total } });
  const [model, runtime] = await Promise.all([MODEL, RUNTIME].map((name) => download(name, step)));
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  ort.env.wasm.wasmBinary = runtime.buffer;
  return { card, session: await ort.InferenceSession.create(model, { executionProviders: ["wasm"] }) };
}

async function download(name, step) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name} can't be loaded (${response.status}); copy the whole folder to the server.`);
  const parts = [];
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    step(part.value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function answer({ number, file, topK }) {
  const network = await opened.catch(() => null);
  if (!network) return; // told already, of all pictures
  try {
    const began = performance.now();
    const classes = await classify(file, network, topK);
    postMessage({ number, prediction: { name: file.name, classes, seconds: (performance.now() - began) / 1000 } });
  } catch (error) {
    postMessage({ number, prediction: { name: file.name, error: { title: "Unreadable picture", status: 422, detail: error.message } } });
  }
}

async function classify(file, { card, session }, topK) {
  const { preprocess, class_names: names } = card;
  const channels = preprocess.mean.length;
  const side = preprocess.image_size;
  const picture = await decode(file, channels);
  const pixels = new ort.Tensor("uint8", crop(picture, preprocess), [1, side, side, channels]);
  const { probabilities } = await session.run({ pixels });
  const order = [...names.keys()].sort((a, b) => probabilities.data[b] - probabilities.data[a]);
  return order.slice(0, topK).map((place) => ({ class: names[place], probability: probabilities.data[place] }));
}

/** The picture upright, its transparent pixels on white, its colours as they are in the file. */
async function decode(file, channels) {
  let bitmap;
  try {
    const asStored = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
    bitmap = await createImageBitmap(file, asStored);
  } catch {
    throw new Error(`No picture that this browser can read; it reads ${READABLE}.`);
  }
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) throw new Error(`${width}x${height} pixels, more than the ${MAX_PIXELS} that are allowed; make it smaller.`);
  const data = new Uint8Array(width * height * channels);
  const context = new OffscreenCanvas(width, Math.min(height, STRIP_PX)).getContext("2d", { willReadFrequently: true });
  context.globalCompositeOperation = "copy";
  for (let top = 0; top < height; top += STRIP_PX) {
    const rows = Math.min(STRIP_PX, height - top);
    context.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows);
    data.set(flatten(context.getImageData(0, 0, width, rows).data, channels), top * width * channels);
  }
  bitmap.close();
  return { width, height, channels, data };
}
