/**
 * GPT-2 (Radford et al. 2019) in plain JavaScript: prompt in one pass, then a token at a time.
 *
 * Left out, since the page only answers prompts: batches, padding, dropout, gradients.
 */

import { require } from "./errors.js";
import { ACTIVATIONS, attention, layerNorm, linear } from "./layers.js";

/** @typedef {import("./layers.js").Linear} Linear */
/** @typedef {import("./safetensors.js").Tensor} Tensor */

/**
 * The fields of a transformers configuration that matter here.
 *
 * @typedef {object} Config
 * @property {number} vocab_size
 * @property {number} n_positions longest text, in tokens
 * @property {number} n_embd width
 * @property {number} n_layer
 * @property {number} n_head
 * @property {number} n_inner width inside the MLP
 * @property {string} activation_function
 * @property {number} layer_norm_epsilon
 * @property {number} eos_token_id
 */

/**
 * Keys and values of the tokens read so far; (capacity, width) in each layer.
 *
 * @typedef {object} KeyValueCache
 * @property {number} length tokens read so far
 * @property {number} capacity
 * @property {{ keys: Float32Array, values: Float32Array }[]} layers
 */

const SIZES = /** @type {const} */ ([
  "vocab_size",
  "n_positions",
  "n_embd",
  "n_layer",
  "n_head",
  "n_inner",
]);

export class GPT2 {
  /**
   * @param {Config} config
   * @param {Map<string, Tensor>} tensors by their names in transformers; the unembedding is tied
   * @throws {import("./errors.js").LanguageModelError} "corrupt" or "unsupported"
   */
  constructor(config, tensors) {
    for (const name of SIZES) {
      const value = config[name];
      require(Number.isSafeInteger(value) && value > 0, "corrupt", `config: ${name} is ${value}`);
    }
    const { n_embd: width, n_inner: inner, n_head: heads, layer_norm_epsilon: epsilon } = config;
    require(epsilon > 0, "corrupt", `config: layer_norm_epsilon is ${epsilon}`);
    require(width % heads === 0, "corrupt", `config: ${heads} heads do not divide ${width}`);
    const activation = ACTIVATIONS.get(config.activation_function);
    require(activation, "unsupported", `config: activation ${config.activation_function}`);

    /** @param {string} name @param {number[]} shape */
    const take = (name, ...shape) => {
      const tensor = tensors.get(`transformer.${name}`);
      require(tensor, "corrupt", `the weights have no tensor transformer.${name}`);
      const right = `${tensor.shape}` === `${shape}`;
      require(right, "corrupt", `tensor ${name}: shape [${tensor.shape}], expected [${shape}]`);
      return tensor.data;
    };
    /** @param {string} name */
    const norm = (name) => ({
      weight: take(`${name}.weight`, width),
      bias: take(`${name}.bias`, width),
      epsilon,
    });
    /** @param {string} name @param {number} inputs @param {number} outputs @returns {Linear} */
    const dense = (name, inputs, outputs) => ({
      inputs,
      outputs,
      weight: transpose(take(`${name}.weight`, inputs, outputs), inputs, outputs),
      bias: take(`${name}.bias`, outputs),
    });

    this.config = config;
    this.parameters = [...tensors.values()].reduce((sum, { data }) => sum + data.length, 0);
    this.activation = activation;
    this.positions = take("wpe.weight", config.n_positions, width);
    /** @type {Linear} */
    this.unembedding = {
      inputs: width,
      outputs: config.vocab_size,
      weight: take("wte.weight", config.vocab_size, width),
      bias: new Float32Array(config.vocab_size),
    };
    this.blocks = Array.from({ length: config.n_layer }, (_, i) => ({
      attentionNorm: norm(`h.${i}.ln_1`),
      qkv: dense(`h.${i}.attn.c_attn`, width, 3 * width),
      attentionOutput: dense(`h.${i}.attn.c_proj`, width, width),
      mlpNorm: norm(`h.${i}.ln_2`),
      mlpInput: dense(`h.${i}.mlp.c_fc`, width, inner),
      mlpOutput: dense(`h.${i}.mlp.c_proj`, inner, width),
    }));
    this.finalNorm = norm("ln_f");
  }

  /**
   * @param {number} capacity tokens, at most n_positions
   * @returns {KeyValueCache}
   */
  newCache(capacity = this.config.n_positions) {
    require(capacity <= this.config.n_positions, "prompt-too-long", `${capacity} tokens`);
    const size = capacity * this.config.n_embd;
    const layers = this.blocks.map(() => ({
      keys: new Float32Array(size),
      values: new Float32Array(size),
    }));
    return { length: 0, capacity, layers };
  }

  /**
   * Reads new tokens behind those in the cache.
   *
   * @param {ArrayLike<number>} tokens (n,)
   * @param {KeyValueCache} cache gets the keys and values of the new tokens
   * @returns {Float32Array} (n, width): what the unembedding reads
   */
  hidden(tokens, cache) {
    const { n_head: heads, n_embd: width } = this.config;
    const past = cache.length;
    require(
      past + tokens.length <= cache.capacity,
      "prompt-too-long",
      `${past + tokens.length} tokens, but the context holds ${cache.capacity}`,
    );
    const x = this.embed(tokens, past);
    for (const [i, block] of this.blocks.entries()) {
      const qkv = linear(layerNorm(x, block.attentionNorm), block.qkv);
      const mixed = attention(qkv, cache.layers[i], past, { width, heads });
      add(x, linear(mixed, block.attentionOutput));
      const inner = linear(layerNorm(x, block.mlpNorm), block.mlpInput);
      for (let j = 0; j < inner.length; j += 1) inner[j] = this.activation(inner[j]);
      add(x, linear(inner, block.mlpOutput));
    }
    cache.length += tokens.length;
    return layerNorm(x, this.finalNorm);
  }

  /**
   * Scores of every possible next token.
   *
   * @param {Float32Array} hidden (n, width), from `hidden`; for the next token only its last row
   * @returns {Float32Array} (n, vocab_size)
   */
  logits(hidden) {
    return linear(hidden, this.unembedding);
  }

  /**
   * @param {ArrayLike<number>} tokens (n,)
   * @param {number} past
   * @returns {Float32Array} (n, width): token embedding plus position embedding
   */
  embed(tokens, past) {
    const { n_embd: width, vocab_size: size } = this.config;
    const x = new Float32Array(tokens.length * width);
    for (let t = 0; t < tokens.length; t += 1) {
      const token = tokens[t];
      require(token >= 0 && token < size, "corrupt", `token ${token} is not in the vocabulary`);
      x.set(this.unembedding.weight.subarray(token * width, (token + 1) * width), t * width);
    }
    add(x, this.positions.subarray(past * width, (past + tokens.length) * width));
    return x;
  }
}

/**
 * @param {Float32Array} x changed in place
 * @param {Float32Array} y
 */
function add(x, y) {
  for (let i = 0; i < x.length; i += 1) x[i] += y[i];
}

/**
 * GPT-2 stores its matrices as (inputs, outputs); `linear` reads (outputs, inputs).
 *
 * @param {Float32Array} matrix (rows, columns)
 * @param {number} rows
 * @param {number} columns
 * @returns {Float32Array} (columns, rows)
 */
function transpose(matrix, rows, columns) {
  const result = new Float32Array(matrix.length);
  for (let r = 0; r < rows; r += 1) {
    for (let c = 0; c < columns; c += 1) result[c * rows + r] = matrix[r * columns + c];
  }
  return result;
}
