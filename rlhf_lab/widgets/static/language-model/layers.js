/**
 * The layers of a transformer on plain arrays. Activations are float32, rows of (n, width); sums
 * run in double precision, JavaScript's own.
 */

/**
 * @typedef {object} Linear
 * @property {number} inputs
 * @property {number} outputs
 * @property {Float32Array} weight (outputs, inputs)
 * @property {Float32Array} bias (outputs,)
 */

/**
 * y = x Wᵀ + b for every row. Four outputs at a time: one load of x serves four products, and their
 * sums do not wait for each other (four times as fast as one by one).
 *
 * @param {Float32Array} x (n, inputs)
 * @param {Linear} layer
 * @returns {Float32Array} (n, outputs)
 */
export function linear(x, { inputs, outputs, weight, bias }) {
  const n = x.length / inputs;
  const y = new Float32Array(n * outputs);
  const blocked = outputs - (outputs % 4);
  for (let row = 0; row < n; row += 1) {
    const from = row * inputs;
    const to = row * outputs;
    for (let j = 0; j < blocked; j += 4) {
      const w0 = j * inputs;
      const w1 = w0 + inputs;
      const w2 = w1 + inputs;
      const w3 = w2 + inputs;
      let sum0 = bias[j];
      let sum1 = bias[j + 1];
      let sum2 = bias[j + 2];
      let sum3 = bias[j + 3];
      for (let i = 0; i < inputs; i += 1) {
        const value = x[from + i];
        sum0 += value * weight[w0 + i];
        sum1 += value * weight[w1 + i];
        sum2 += value * weight[w2 + i];
        sum3 += value * weight[w3 + i];
      }
      y[to + j] = sum0;
      y[to + j + 1] = sum1;
      y[to + j + 2] = sum2;
      y[to + j + 3] = sum3;
    }
    for (let j = blocked; j < outputs; j += 1) {
      let sum = bias[j];
      for (let i = 0; i < inputs; i += 1) sum += x[from + i] * weight[j * inputs + i];
      y[to + j] = sum;
    }
  }
  return y;
}

/**
 * (x − mean) / √(variance + ε) · weight + bias for every row; the variance is the biased one.
 *
 * @param {Float32Array} x (n, width)
 * @param {{ weight: Float32Array, bias: Float32Array, epsilon: number }} norm
 * @returns {Float32Array} (n, width)
 */
export function layerNorm(x, { weight, bias, epsilon }) {
  const width = weight.length;
  const y = new Float32Array(x.length);
  for (let from = 0; from < x.length; from += width) {
    let mean = 0;
    for (let i = 0; i < width; i += 1) mean += x[from + i];
    mean /= width;
    let variance = 0;
    for (let i = 0; i < width; i += 1) variance += (x[from + i] - mean) ** 2;
    const scale = 1 / Math.sqrt(variance / width + epsilon);
    for (let i = 0; i < width; i += 1) {
      y[from + i] = (x[from + i] - mean) * scale * weight[i] + bias[i];
    }
  }
  return y;
}

/**
 * Causal attention: every new position looks at all positions up to itself, head by head.
 *
 * @param {Float32Array} qkv (n, 3 · width): query, key and value of each new position
 * @param {{ keys: Float32Array, values: Float32Array }} cache (capacity, width) each; the new keys
 *   and values are written at row `past` and behind
 * @param {number} past rows of the cache that are filled already
 * @param {{ width: number, heads: number }} shape
 * @returns {Float32Array} (n, width)
 */
export function attention(qkv, { keys, values }, past, { width, heads }) {
  const n = qkv.length / (3 * width);
  for (let t = 0; t < n; t += 1) {
    const row = qkv.subarray(3 * width * t, 3 * width * (t + 1));
    keys.set(row.subarray(width, 2 * width), (past + t) * width);
    values.set(row.subarray(2 * width), (past + t) * width);
  }
  const y = new Float32Array(n * width);
  const weights = new Float64Array(past + n);
  const size = width / heads;
  for (let t = 0; t < n; t += 1) {
    const visible = past + t + 1;
    for (let head = 0; head < heads; head += 1) {
      const query = 3 * width * t + head * size;
      let largest = -Infinity;
      for (let p = 0; p < visible; p += 1) {
        const key = p * width + head * size;
        let score = 0;
        for (let i = 0; i < size; i += 1) score += qkv[query + i] * keys[key + i];
        weights[p] = score / Math.sqrt(size);
        if (weights[p] > largest) largest = weights[p];
      }
      let total = 0;
      for (let p = 0; p < visible; p += 1) {
        weights[p] = Math.exp(weights[p] - largest);
        total += weights[p];
      }
      const to = width * t + head * size;
      for (let p = 0; p < visible; p += 1) {
        const value = p * width + head * size;
        const weight = weights[p] / total;
        for (let i = 0; i < size; i += 1) y[to + i] += weight * values[value + i];
      }
    }
  }
  return y;
}

/**
 * The error function, to double precision: its series with positive terms only,
 * 2/√π · exp(−z²) · Σ 2ⁿ z²ⁿ⁺¹ / (1 · 3 · … · (2n + 1)). Source: DLMF, 7.6.2.
 *
 * @param {number} z
 * @returns {number}
 */
export function erf(z) {
  if (Math.abs(z) > 6) return Math.sign(z); // 1 − erf(6) is below 2⁻⁵³
  let term = z;
  let sum = z;
  for (let n = 1; Math.abs(term) > 1e-16 * Math.abs(sum); n += 1) {
    term *= (2 * z * z) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z) * sum;
}

/** @param {number} x */
const exactGelu = (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2));

/** @param {number} x */
const tanhGelu = (x) =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/**
 * By their names in a transformers configuration.
 *
 * @type {Map<string, (x: number) => number>}
 */
export const ACTIVATIONS = new Map([
  ["gelu", exactGelu],
  ["gelu_new", tanhGelu],
  ["gelu_pytorch_tanh", tanhGelu],
]);
