/**
 * Fetches what `rlhf_lab.browser_model` wrote: index.json, which names the files with their sizes
 * and hashes, then either a whole model (config.json, tokenizer.json and model.safetensors) or a
 * model's difference from another one (difference.safetensors).
 */

import { addDifference, readDifference } from "./difference.js";
import { LanguageModelError, require } from "./errors.js";
import { GPT2 } from "./gpt2.js";
import { readSafetensors } from "./safetensors.js";
import { Tokenizer } from "./tokenizer.js";

/**
 * @typedef {object} LanguageModel
 * @property {GPT2} model
 * @property {Tokenizer} tokenizer
 * @property {Weights} weights
 */

/** @typedef {Map<string, import("./safetensors.js").Tensor>} Tensors */
/** @typedef {{ tensors: Tensors, sha256: string }} Weights of a file, and the hash of that file */
/** @typedef {(loadedBytes: number, totalBytes: number) => void} OnProgress */
/** @typedef {{ bytes: number, sha256: string }} FileEntry */
/** @typedef {{ signal?: AbortSignal, onProgress?: OnProgress }} LoadOptions */

const WHOLE = {
  format: "rlhf_lab.browser_model/1",
  names: ["config.json", "tokenizer.json", "model.safetensors"],
};
const DIFFERENCE = {
  format: "rlhf_lab.browser_difference/1",
  names: ["difference.safetensors"],
};

/**
 * @param {string} folder absolute address
 * @param {LoadOptions} [options]
 * @returns {Promise<LanguageModel>}
 * @throws {LanguageModelError} "network", "corrupt", "unsupported" or "cancelled"
 */
export async function loadModel(folder, options = {}) {
  const { index, files } = await fetchFolder(folder, WHOLE, options);
  const [configFile, tokenizerFile, weightsFile] = files;
  const tokenizer = new Tokenizer(parse("tokenizer.json", tokenizerFile));
  const tensors = readSafetensors(weightsFile);
  const model = new GPT2(parse("config.json", configFile), tensors);
  const { sha256 } = index.files["model.safetensors"];
  return { tokenizer, model, weights: { tensors, sha256 } };
}

/**
 * A model of which only the difference from another one is fetched, while that one may still be on
 * its way. Configuration and tokenizer are the other one's.
 *
 * @param {string} folder absolute address
 * @param {Promise<LanguageModel>} base
 * @param {LoadOptions} [options]
 * @returns {Promise<LanguageModel>}
 * @throws {LanguageModelError} as loadModel; why the base failed; or "corrupt" for another base
 */
export async function loadDifference(folder, base, options = {}) {
  const [{ index, files }, { model, tokenizer, weights }] = await Promise.all([
    fetchFolder(folder, DIFFERENCE, options),
    base,
  ]);
  const own = index.base_sha256 === weights.sha256;
  require(own, "corrupt", "difference.safetensors: it was taken from other weights");
  const { sha256 } = index.files["difference.safetensors"];
  const tensors = addDifference(weights.tensors, readDifference(files[0]));
  return { tokenizer, model: new GPT2(model.config, tensors), weights: { tensors, sha256 } };
}

/**
 * @param {string} folder absolute address
 * @param {{ format: string, names: string[] }} kind
 * @param {LoadOptions} options
 * @returns {Promise<{ index: any, files: ArrayBuffer[] }>} files in the order of their names
 */
async function fetchFolder(folder, { format, names }, { signal, onProgress = () => {} }) {
  const base = folder.endsWith("/") ? folder : `${folder}/`;
  // No cache for the index: it must not name the files of an older release.
  const response = await request(`${base}index.json`, { signal, cache: "no-store" });
  const index = readIndex(await readBytes(response, () => {}, signal), format, names);
  const total = names.reduce((sum, name) => sum + index.files[name].bytes, 0);
  let loaded = 0;
  /** @param {string} name @param {RequestCache} cache */
  const fetchOnce = async (name, cache) => {
    // The hash in the address keeps a browser's cache from answering with an older release.
    const url = `${base}${name}?v=${index.files[name].sha256.slice(0, 16)}`;
    const response = await request(url, { signal, cache });
    const bytes = await readBytes(response, (n) => onProgress((loaded += n), total), signal);
    try {
      await verify(name, bytes, index.files[name]);
    } catch (error) {
      loaded -= bytes.byteLength;
      throw error;
    }
    return bytes;
  };
  // A damaged copy may lie in the browser's cache: the second try goes past it.
  /** @param {string} name */
  const fetchFile = (name) =>
    fetchOnce(name, "default").catch((error) => {
      if (error.code !== "corrupt") throw error;
      return fetchOnce(name, "reload");
    });
  onProgress(0, total);
  return { index, files: await Promise.all(names.map(fetchFile)) };
}

/**
 * @param {string} url
 * @param {RequestInit} options
 * @returns {Promise<Response>}
 */
async function request(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    throw asNetworkError(error, url, options.signal);
  }
  require(response.ok, "network", `${url}: the server answers ${response.status}`);
  return response;
}

/**
 * @param {Response} response
 * @param {(bytes: number) => void} onArrival called with the size of each piece
 * @param {AbortSignal} [signal]
 * @returns {Promise<ArrayBuffer>}
 */
async function readBytes(response, onArrival, signal) {
  const pieces = [];
  try {
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      onArrival(value.length);
      pieces.push(/** @type {Uint8Array<ArrayBuffer>} */ (value));
    }
  } catch (error) {
    throw asNetworkError(error, response.url, signal);
  }
  return new Blob(pieces).arrayBuffer();
}

/**
 * @param {unknown} error
 * @param {string} url
 * @param {AbortSignal | null} [signal]
 */
function asNetworkError(error, url, signal) {
  if (signal?.aborted) return new LanguageModelError("cancelled", `${url}: cancelled`);
  return new LanguageModelError("network", `${url}: ${error}`);
}

/**
 * @param {ArrayBuffer} bytes of index.json
 * @param {string} format
 * @param {string[]} names of files that it must have
 * @returns {any} the index, with a sound `files`
 */
function readIndex(bytes, format, names) {
  const index = parse("index.json", bytes);
  const known = index?.format === format;
  require(known, "unsupported", `index.json: format ${index?.format}, expected ${format}`);
  for (const name of names) {
    const entry = index.files?.[name];
    const sound =
      Number.isSafeInteger(entry?.bytes) && entry.bytes > 0 && typeof entry.sha256 === "string";
    require(sound, "corrupt", `index.json: no size or no hash of ${name}`);
  }
  return index;
}

/**
 * Without an encrypted connection browsers offer no hashes; then the size alone is compared.
 *
 * @param {string} name
 * @param {ArrayBuffer} bytes
 * @param {FileEntry} entry
 */
async function verify(name, bytes, entry) {
  const size = `${name}: ${bytes.byteLength} bytes arrived, expected ${entry.bytes}`;
  require(bytes.byteLength === entry.bytes, "corrupt", size);
  if (!globalThis.isSecureContext) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  require(hash === entry.sha256, "corrupt", `${name}: its SHA-256 is not that of the index`);
}

/**
 * @param {string} name
 * @param {ArrayBuffer} bytes
 * @returns {any}
 */
function parse(name, bytes) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new LanguageModelError("corrupt", `${name}: not JSON`);
  }
}
