// For the tests: reads a list of cases as JSON from the file that is named, crops each, and writes all bytes to standard output.
import { readFileSync, writeSync } from "node:fs";

const [script, list] = process.argv.slice(2);
const { crop, flatten } = await import(script);
const results = JSON.parse(readFileSync(list)).map(({ file, width, height, channels, rgba, preprocess }) => {
  const bytes = new Uint8Array(readFileSync(file));
  const data = rgba ? flatten(bytes, channels) : bytes;
  return preprocess ? crop({ width, height, channels, data }, preprocess) : data;
});
for (let all = Buffer.concat(results); all.length; ) all = all.subarray(writeSync(1, all));
