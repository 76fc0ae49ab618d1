/** The loop from a prompt to an answer: one forward pass and one choice per token. */

import { require } from "./errors.js";
import { choose, greedy, logprob, MersenneTwister } from "./sampler.js";
import { newDecoder } from "./tokenizer.js";

/** @typedef {import("./loader.js").LanguageModel} LanguageModel */

/**
 * @typedef {object} GenerationOptions
 * @property {string} prompt as in training; a Fernwick prompt ends with a line break
 * @property {number} maxNewTokens longest answer, EOS included; cut where the context ends
 * @property {number} temperature 0: always the most probable token; otherwise above 0
 * @property {number} seed a whole number from 0 on; unused at temperature 0
 */

/**
 * @typedef {object} Token
 * @property {number} id
 * @property {string} text what the answer grows by; empty while a character is incomplete
 * @property {number} logprob log π(token | everything before), in nats, at temperature 1
 * @property {boolean} isEnd the end of the answer, EOS
 */

/**
 * @typedef {object} Generation
 * @property {string} text the whole answer, without EOS
 * @property {number[]} tokens ids, with EOS
 * @property {number} promptTokens
 * @property {"eos" | "length"} finishReason the model ended the answer, or it was cut
 */

/**
 * @param {LanguageModel} languageModel
 * @param {GenerationOptions} options
 * @returns {Generator<Token, Generation, void>}
 * @throws {import("./errors.js").LanguageModelError} "empty-prompt", "prompt-too-long",
 *   "invalid-option", or "corrupt" when the weights give no finite numbers
 */
export function* generate({ model, tokenizer }, { prompt, maxNewTokens, temperature, seed }) {
  require(isCount(maxNewTokens) && maxNewTokens > 0, "invalid-option", "maxNewTokens: 1 or more");
  const warm = Number.isFinite(temperature) && temperature >= 0;
  require(warm, "invalid-option", "temperature: 0 or a number above it");
  require(isCount(seed), "invalid-option", "seed: a whole number, 0 or more");
  const { n_positions: context, eos_token_id: eos } = model.config;
  const promptIds = encodePrompt(tokenizer, prompt, context);
  const longest = Math.min(maxNewTokens, context - promptIds.length);
  const cache = model.newCache(promptIds.length + longest);
  const random = new MersenneTwister(seed);
  const decoder = newDecoder();
  const tokens = [];
  let text = "";
  let input = promptIds;
  while (tokens.length < longest && tokens.at(-1) !== eos) {
    const hidden = model.hidden(input, cache);
    const logits = model.logits(hidden.subarray(-model.config.n_embd));
    const id = temperature > 0 ? choose(logits, random.uniform(), temperature) : greedy(logits);
    const chance = logprob(logits, id);
    require(Number.isFinite(chance), "corrupt", "the weights give no finite probabilities");
    tokens.push(id);
    input = [id];
    const last = tokens.length === longest || id === eos;
    const piece = decoder.decode(tokenizer.bytes(id), { stream: !last });
    text += piece;
    yield { id, text: piece, logprob: chance, isEnd: id === eos };
  }
  const finishReason = tokens.at(-1) === eos ? "eos" : "length";
  return { text, tokens, promptTokens: promptIds.length, finishReason };
}

/**
 * @param {import("./tokenizer.js").Tokenizer} tokenizer
 * @param {string} prompt
 * @param {number} context
 * @returns {number[]} token ids, at least one, and room for an answer behind them
 */
function encodePrompt(tokenizer, prompt, context) {
  // A text has at least as many bytes as UTF-16 units: a pasted book is refused without reading it.
  const fewest = Math.ceil(prompt.length / tokenizer.maxTokenBytes);
  const ids = fewest < context ? tokenizer.encode(prompt) : null;
  require(
    ids && ids.length < context,
    "prompt-too-long",
    ids
      ? `the prompt has ${ids.length} tokens; the model reads at most ${context - 1}`
      : `the prompt has ${fewest} tokens or more; the model reads at most ${context - 1}`,
  );
  require(ids.length > 0, "empty-prompt", "the prompt is empty");
  return ids;
}

/** @param {number} value */
function isCount(value) {
  return Number.isSafeInteger(value) && value >= 0;
}
