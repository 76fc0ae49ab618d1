/**
 * Language models for a page: promises on this side, a worker on the other.
 *
 *   const models = new LanguageModels();
 *   await models.load("ppo-ptx", "../models/ppo-ptx", { onProgress: (loaded, total) => … });
 *   const { text } = await models.generate("ppo-ptx", "what is a toad?\n", {
 *     onToken: (token) => output.append(token.text),
 *   });
 *
 * Text from a model may say anything, `<script>` included: show it with textContent or append.
 */

import { LanguageModelError } from "./errors.js";

/** @typedef {import("./generate.js").Generation} Generation */
/** @typedef {import("./generate.js").Token} Token */
/** @typedef {import("./next-token.js").Place} Place */
/** @typedef {import("./worker.js").ModelInfo} ModelInfo */

/**
 * @typedef {object} Pending
 * @property {(result: any) => void} resolve
 * @property {(error: unknown) => void} reject
 * @property {(message: any) => void} onUpdate
 */

export class LanguageModels {
  /** @type {Worker | null} */
  #worker = null;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** @type {Map<string, Promise<ModelInfo>>} */
  #loads = new Map();
  #lastId = 0;

  /**
   * Fetches a model, once: asked again for a name, it gives the same promise, unless that failed.
   *
   * @param {string} name
   * @param {string | URL} url folder of the model's files, relative to the page
   * @param {object} [options]
   * @param {string} [options.base] the folder holds the difference from this model; load it first,
   *   but there is no need to wait for it
   * @param {(loadedBytes: number, totalBytes: number) => void} [options.onProgress]
   * @param {AbortSignal} [options.signal]
   * @returns {Promise<ModelInfo>}
   * @throws {LanguageModelError} see errors.js for the codes
   */
  load(name, url, { base, onProgress = () => {}, signal } = {}) {
    const earlier = this.#loads.get(name);
    if (earlier) return earlier;
    const request = { type: "load", name, base, url: new URL(url, document.baseURI).href };
    const loading = this.#ask(request, signal, ({ loadedBytes, totalBytes }) =>
      onProgress(loadedBytes, totalBytes),
    );
    this.#loads.set(name, loading);
    loading.catch(() => {
      if (this.#loads.get(name) === loading) this.#loads.delete(name);
    });
    return loading;
  }

  /**
   * Answers a prompt with a loaded model.
   *
   * @param {string} name
   * @param {string} prompt
   * @param {object} [options] see GenerationOptions in generate.js
   * @param {number} [options.maxNewTokens]
   * @param {number} [options.temperature]
   * @param {number} [options.seed]
   * @param {(token: Token) => void} [options.onToken] called for each token as it comes
   * @param {AbortSignal} [options.signal] stops the answer; the promise fails with "cancelled"
   * @returns {Promise<Generation>}
   * @throws {LanguageModelError} see errors.js for the codes
   */
  generate(name, prompt, options = {}) {
    const { maxNewTokens = 64, temperature = 0, seed = 0, onToken = () => {}, signal } = options;
    const request = { type: "generate", name, prompt, maxNewTokens, temperature, seed };
    return this.#ask(request, signal, ({ token }) => onToken(token));
  }

  /**
   * What several loaded models expect along an answer.
   *
   * @param {string[]} names
   * @param {string} reference the one of them that the others are compared with
   * @param {string} prompt
   * @param {number[]} answer token ids
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<Place[]>} one for each token of the answer
   * @throws {LanguageModelError} see errors.js for the codes
   */
  compare(names, reference, prompt, answer, { signal } = {}) {
    return this.#ask({ type: "compare", names, reference, prompt, answer }, signal, () => {});
  }

  /** Ends the worker and frees the models; what is under way fails with "cancelled". */
  close() {
    this.#stop(new LanguageModelError("cancelled", "closed"));
  }

  /**
   * @param {object} request
   * @param {AbortSignal | undefined} signal
   * @param {(message: any) => void} onUpdate
   * @returns {Promise<any>}
   */
  #ask(request, signal, onUpdate) {
    const id = (this.#lastId += 1);
    const worker = (this.#worker ??= this.#start());
    const cancel = () => worker.postMessage({ type: "cancel", id });
    const answer = new Promise((resolve, reject) => {
      // Tokens that were on their way when the reader said stop are not shown.
      const update = (/** @type {any} */ message) => signal?.aborted || onUpdate(message);
      this.#pending.set(id, { resolve, reject, onUpdate: update });
    });
    worker.postMessage({ ...request, id });
    if (signal?.aborted) cancel();
    signal?.addEventListener("abort", cancel);
    return answer.finally(() => signal?.removeEventListener("abort", cancel));
  }

  #start() {
    const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#stop(new LanguageModelError("worker", event.message || "the worker did not start"));
    };
    return worker;
  }

  /** @param {any} message */
  #receive({ type, id, result, code, message, ...update }) {
    const pending = this.#pending.get(id);
    if (!pending) return;
    if (type === "progress" || type === "token") {
      pending.onUpdate(update);
      return;
    }
    this.#pending.delete(id);
    if (type === "result") pending.resolve(result);
    else pending.reject(new LanguageModelError(code, message));
  }

  /** @param {LanguageModelError} reason */
  #stop(reason) {
    this.#worker?.terminate();
    this.#worker = null;
    this.#loads.clear();
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
  }
}
