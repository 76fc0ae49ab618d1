/**
 * Runs language models beside the page, so that it stays responsive. One worker holds any number of
 * models and answers any number of prompts at a time, a token of each in turn.
 *
 * Messages to the worker; `id` is a number of the sender's choice, new for each request:
 *   { type: "load", id, name, url, base }
 *       fetches the model in folder `url` and keeps it as `name`; with a `base`, the folder holds
 *       the difference from the model of that name, of which loading must have begun
 *   { type: "generate", id, name, prompt, maxNewTokens, temperature, seed }
 *   { type: "compare", id, names, reference, prompt, answer }
 *       what the models `names` expect along an answer (token ids), against the model `reference`
 *   { type: "cancel", id }             ends that request with the error "cancelled"
 *
 * Messages from the worker, each with the `id` of its request:
 *   { type: "progress", id, loadedBytes, totalBytes }   while a model is being fetched
 *   { type: "token", id, token }                        a Token of generate.js
 *   { type: "result", id, result }                      the end: a ModelInfo, Generation or Place[]
 *   { type: "error", id, code, message }                the end: see errors.js
 *
 * Text in these messages is a model's output: a page may show it as text only (textContent).
 */

import { LanguageModelError, require } from "./errors.js";
import { generate } from "./generate.js";
import { loadDifference, loadModel } from "./loader.js";
import { compareAlong, expectations } from "./next-token.js";

/**
 * @typedef {object} ModelInfo
 * @property {number} context longest text, in tokens, prompt and answer together
 * @property {number} parameters number of weights
 */

/** @typedef {import("./loader.js").LanguageModel} LanguageModel */

/** @type {Map<string, LanguageModel>} */
const models = new Map();
/** @type {Map<string, Promise<LanguageModel>>} */
const loads = new Map();
/** @type {Map<number, AbortController>} */
const running = new Map();

/**
 * @param {any} request
 * @param {AbortSignal} signal
 * @returns {Promise<ModelInfo>}
 */
async function load({ id, name, url, base }, signal) {
  /** @type {import("./loader.js").OnProgress} */
  const onProgress = (loadedBytes, totalBytes) =>
    postMessage({ type: "progress", id, loadedBytes, totalBytes });
  const options = { signal, onProgress };
  const loading =
    base === undefined ? loadModel(url, options) : loadDifference(url, loadOf(base), options);
  loads.set(name, loading);
  const loaded = await loading;
  models.set(name, loaded);
  return { context: loaded.model.config.n_positions, parameters: loaded.model.parameters };
}

/**
 * @param {string} name
 * @returns {Promise<LanguageModel>}
 */
function loadOf(name) {
  const loading = loads.get(name);
  require(loading, "not-loaded", `model ${name} is not being loaded`);
  return loading;
}

/**
 * @param {string} name
 * @returns {LanguageModel}
 */
function modelOf(name) {
  const model = models.get(name);
  require(model, "not-loaded", `model ${name} is not loaded`);
  return model;
}

/**
 * @param {any} request
 * @param {AbortSignal} signal
 * @returns {Promise<import("./generate.js").Generation>}
 */
async function answer({ id, name, ...options }, signal) {
  const tokens = generate(modelOf(name), options);
  for (;;) {
    await otherMessages();
    require(!signal.aborted, "cancelled", "cancelled");
    const { done, value } = tokens.next();
    if (done) return value;
    postMessage({ type: "token", id, token: value });
  }
}

/**
 * @param {any} request
 * @param {AbortSignal} signal
 * @returns {Promise<import("./next-token.js").Place[]>}
 */
async function compare({ names, reference, prompt, answer }, signal) {
  const expected = [];
  for (const name of names) {
    await otherMessages();
    require(!signal.aborted, "cancelled", "cancelled");
    expected.push(expectations(modelOf(name), prompt, answer));
  }
  return compareAlong(expected, names.indexOf(reference), answer, modelOf(reference).tokenizer);
}

const { port1: here, port2: there } = new MessageChannel();
/** @type {(() => void)[]} */
const waiting = [];
here.onmessage = () => waiting.shift()?.();

/**
 * Lets waiting messages in, such as "cancel". A timer of 0 ms would do the same, but browsers make
 * it 4 ms long, which is longer than a token takes.
 *
 * @returns {Promise<void>}
 */
function otherMessages() {
  return new Promise((resolve) => {
    waiting.push(resolve);
    there.postMessage(null);
  });
}

const WORK = { load, generate: answer, compare };

/** @param {any} request */
async function handle(request) {
  const { type, id } = request;
  if (type === "cancel") {
    running.get(id)?.abort();
    return;
  }
  const controller = new AbortController();
  running.set(id, controller);
  try {
    const result = await WORK[/** @type {keyof WORK} */ (type)](request, controller.signal);
    postMessage({ type: "result", id, result });
  } catch (error) {
    // Every request must end: what is no LanguageModelError is a fault of this code, and is told.
    const code = error instanceof LanguageModelError ? error.code : "worker";
    postMessage({ type: "error", id, code, message: error instanceof Error ? error.message : "" });
  } finally {
    running.delete(id);
  }
}

onmessage = ({ data }) => handle(data);
