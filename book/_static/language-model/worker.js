/**
 * Runs language models beside the page, so that it stays responsive. One worker holds any number of
 * models and answers any number of prompts at a time, a token of each in turn.
 *
 * Messages to the worker; `id` is a number of the sender's choice, new for each request:
 *   { type: "load", id, name, url }    fetches the model in folder `url` and keeps it as `name`
 *   { type: "generate", id, name, prompt, maxNewTokens, temperature, seed }
 *   { type: "cancel", id }             ends that request with the error "cancelled"
 *
 * Messages from the worker, each with the `id` of its request:
 *   { type: "progress", id, loadedBytes, totalBytes }   while a model is being fetched
 *   { type: "token", id, token }                        a Token of generate.js
 *   { type: "result", id, result }                      the end: a ModelInfo or a Generation
 *   { type: "error", id, code, message }                the end: see errors.js
 *
 * Text in these messages is a model's output: a page may show it as text only (textContent).
 */

import { LanguageModelError, require } from "./errors.js";
import { generate } from "./generate.js";
import { loadModel } from "./loader.js";

/**
 * @typedef {object} ModelInfo
 * @property {number} context longest text, in tokens, prompt and answer together
 * @property {number} parameters number of weights
 */

/** @type {Map<string, import("./loader.js").LanguageModel>} */
const models = new Map();
/** @type {Map<number, AbortController>} */
const running = new Map();

/**
 * @param {any} request
 * @param {AbortSignal} signal
 * @returns {Promise<ModelInfo>}
 */
async function load({ id, name, url }, signal) {
  const loaded = await loadModel(url, {
    signal,
    onProgress: (loadedBytes, totalBytes) =>
      postMessage({ type: "progress", id, loadedBytes, totalBytes }),
  });
  models.set(name, loaded);
  return { context: loaded.model.config.n_positions, parameters: loaded.model.parameters };
}

/**
 * @param {any} request
 * @param {AbortSignal} signal
 * @returns {Promise<import("./generate.js").Generation>}
 */
async function answer({ id, name, ...options }, signal) {
  const model = models.get(name);
  require(model, "not-loaded", `model ${name} is not loaded`);
  const tokens = generate(model, options);
  for (;;) {
    await otherMessages();
    require(!signal.aborted, "cancelled", "cancelled");
    const { done, value } = tokens.next();
    if (done) return value;
    postMessage({ type: "token", id, token: value });
  }
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
    const work = type === "load" ? load : answer;
    postMessage({ type: "result", id, result: await work(request, controller.signal) });
  } catch (error) {
    // Every request must end: what is no LanguageModelError is a fault of this code, and is told.
    const code = error instanceof LanguageModelError ? error.code : "worker";
    postMessage({ type: "error", id, code, message: error instanceof Error ? error.message : "" });
  } finally {
    running.delete(id);
  }
}

onmessage = ({ data }) => handle(data);
