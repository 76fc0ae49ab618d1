/** What several models expect next, along one answer: each token's place, seen by all of them. */

import { logprobs } from "./sampler.js";

/** @typedef {import("./loader.js").LanguageModel} LanguageModel */
/** @typedef {import("./tokenizer.js").Piece} Piece */

/**
 * One place of an answer, before its token was written. At temperature 1, whatever the answer was
 * written at.
 *
 * @typedef {object} Place
 * @property {Piece[]} tokens the likeliest ones of every model, and the one that was written
 * @property {number} written index of that one in `tokens`
 * @property {number[][]} probabilities of `tokens`, for each model
 * @property {number[]} kl KL(model ‖ reference) over all tokens, in nats, for each model
 */

const LIKELIEST = 3; // of each model are shown,
const LEAST = 0.01; // if they have this probability

/**
 * @param {LanguageModel} languageModel
 * @param {string} prompt
 * @param {number[]} answer token ids
 * @returns {Float64Array[]} for each token of the answer the log-probabilities before it, (V,)
 */
export function expectations({ model, tokenizer }, prompt, answer) {
  const promptIds = tokenizer.encode(prompt);
  const read = [...promptIds, ...answer.slice(0, -1)];
  const width = model.config.n_embd;
  const hidden = model.hidden(read, model.newCache(read.length));
  return answer.map((_, t) => {
    const at = (promptIds.length - 1 + t) * width;
    return logprobs(model.logits(hidden.subarray(at, at + width)));
  });
}

/**
 * @param {Float64Array[][]} expected for each model what `expectations` gives
 * @param {number} reference index of the model that the others are compared with
 * @param {number[]} answer token ids
 * @param {import("./tokenizer.js").Tokenizer} tokenizer of all models
 * @returns {Place[]} one for each token of the answer
 */
export function compareAlong(expected, reference, answer, tokenizer) {
  return answer.map((token, t) => {
    const here = expected.map((places) => places[t]);
    const shown = new Set([token, ...here.flatMap(likeliest)]);
    const highest = (/** @type {number} */ id) => Math.max(...here.map((logs) => logs[id]));
    const ids = [...shown].sort((a, b) => highest(b) - highest(a));
    return {
      tokens: ids.map((id) => tokenizer.piece(id)),
      written: ids.indexOf(token),
      probabilities: here.map((logs) => ids.map((id) => Math.exp(logs[id]))),
      kl: here.map((logs) => divergence(logs, here[reference])),
    };
  });
}

/**
 * @param {Float64Array} logs
 * @returns {number[]} ids, the likeliest first
 */
function likeliest(logs) {
  /** @type {number[]} */
  const best = [];
  for (let id = 0; id < logs.length; id += 1) {
    if (logs[id] < Math.log(LEAST)) continue;
    best.push(id);
  }
  return best.sort((a, b) => logs[b] - logs[a]).slice(0, LIKELIEST);
}

/**
 * @param {Float64Array} logs log-probabilities of one model, (V,)
 * @param {Float64Array} reference of the other
 * @returns {number} Σ p · (log p − log q), in nats; not below 0 by rounding
 */
function divergence(logs, reference) {
  let sum = 0;
  for (let id = 0; id < logs.length; id += 1) sum += Math.exp(logs[id]) * (logs[id] - reference[id]);
  return Math.max(sum, 0);
}
