// Answers of a server (`inceptions serve`), for page.js: which models there are, and what they see in pictures.

export const hasHeatMaps = true;
export const note = "Pictures go to this server as they are, and are not kept there.";

const KEY = "inceptions token"; // lives as long as the tab
const MOST_TRIES = 5;
const NOT_IMPLEMENTED = 501; // as heat maps are refused where the server can't make them

/** A refusal of the server, with its problem details (RFC 9457). */
class Refused extends Error {
  constructor(problem) {
    super(problem.detail || problem.title || `The server answered ${problem.status}.`);
    this.problem = problem;
    this.needsToken = problem.status === 401;
  }
}

export function setToken(token) {
  sessionStorage.setItem(KEY, token);
}

export async function openModels() {
  const { models } = await ask("v1/models");
  return Promise.all(models.map(openModel));
}

/** A model's card; of one that can't answer now, such as one that is being started, its name, `ready: false` and perhaps the reason. */
async function openModel({ name, ready = true }) {
  if (!ready) return { name, ready };
  try {
    return await ask(`v1/models/${encodeURIComponent(name)}`, {}, 1); // the others don't wait for it
  } catch (error) {
    if (error.needsToken) throw error;
    return { name, ready: false, reason: error.message };
  }
}

export async function predict(name, files, { topK = 5, heatMap = false } = {}) {
  const settings = new URLSearchParams({ model: name, top_k: topK });
  if (heatMap) settings.set("heat_map", "gradcam");
  const body = new FormData();
  for (const file of files) body.append("images", file);
  try {
    return (await ask(`v1/predict?${settings}`, { method: "POST", body })).predictions;
  } catch (error) {
    if (heatMap && error.problem?.status === NOT_IMPLEMENTED) {
      const found = await predict(name, files, { topK });
      return found.map((prediction) => ({ ...prediction, without_heat_map: error.message }));
    }
    if (files.length !== 1 || error.needsToken || !error.problem) throw error;
    return [{ name: files[0].name, error: error.problem }];
  }
}

/** What the server answers; where it is busy, asked again when it says. */
async function ask(path, request = {}, tries = MOST_TRIES) {
  for (let attempt = 1; ; attempt++) {
    const response = await send(path, request);
    if (response.ok) return response.json();
    const problem = await problemOf(response);
    if (![429, 503].includes(response.status) || attempt === tries) throw new Refused(problem);
    const seconds = Number(response.headers.get("Retry-After")) || attempt;
    await new Promise((resume) => setTimeout(resume, 1000 * Math.min(seconds, 30)));
  }
}

/** The token as a header; one that no header can hold is forgotten, and asked for anew. */
function authorization() {
  const token = sessionStorage.getItem(KEY);
  try {
    return new Headers(token ? { Authorization: `Bearer ${token}` } : {});
  } catch {
    sessionStorage.removeItem(KEY);
    const detail = "That can't be sent: it has characters that no token has, such as letters of another alphabet; copy the token anew.";
    throw new Refused({ title: "No token", status: 401, detail });
  }
}

async function send(path, request) {
  const headers = authorization();
  try {
    return await fetch(new URL(path, import.meta.url), { ...request, headers });
  } catch {
    throw new Refused({ title: "No answer", status: 0, detail: "The server can't be reached; see whether it runs, and try again." });
  }
}

async function problemOf(response) {
  const told = await response.json().catch(() => ({}));
  return { status: response.status, title: response.statusText, ...told };
}
