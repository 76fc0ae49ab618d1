/**
 * Draws tokens as `rlhf_lab.generation` does: the same seed gives the same answer in Python, with
 * torch's generator on the CPU, and here.
 */

/** The Mersenne twister MT19937 (Matsumoto and Nishimura 1998), which torch uses on the CPU. */
export class MersenneTwister {
  /** @param {number} seed a whole number; its lowest 32 bits count */
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.state[0] = seed;
    for (let i = 1; i < 624; i += 1) {
      const previous = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, previous ^ (previous >>> 30)) + i;
    }
    this.next = 624;
  }

  /** @returns {number} 32 random bits */
  uint32() {
    if (this.next === 624) this.twist();
    let y = this.state[this.next];
    this.next += 1;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  twist() {
    const { state } = this;
    for (let i = 0; i < 624; i += 1) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
      state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  /** @returns {number} uniform in [0, 1), 53 random bits, as torch.rand(…, dtype=float64) */
  uniform() {
    const high = this.uint32() & 0x1fffff;
    return (high * 2 ** 32 + this.uint32()) / 2 ** 53;
  }
}

/**
 * @param {Float32Array} logits (V,)
 * @returns {number} the most probable token, the first of equals
 */
export function greedy(logits) {
  let best = 0;
  for (let token = 1; token < logits.length; token += 1) {
    if (logits[token] > logits[best]) best = token;
  }
  return best;
}

/**
 * The smallest token v with Σ_{u ≤ v} p(u) > uniform, p = softmax(logits / temperature). A token of
 * probability 0 is never chosen.
 *
 * @param {Float32Array} logits (V,)
 * @param {number} uniform in [0, 1)
 * @param {number} temperature above 0
 * @returns {number}
 */
export function choose(logits, uniform, temperature) {
  const largest = logits[greedy(logits)];
  const weights = new Float64Array(logits.length);
  let total = 0;
  for (let token = 0; token < logits.length; token += 1) {
    weights[token] = Math.exp((logits[token] - largest) / temperature);
    total += weights[token];
  }
  let last = 0;
  let sum = 0;
  for (let token = 0; token < weights.length; token += 1) {
    if (weights[token] === 0) continue;
    last = token;
    sum += weights[token];
    if (sum > uniform * total) break;
  }
  return last;
}

/**
 * @param {Float32Array} logits (V,)
 * @param {number} token
 * @returns {number} log π(token), in nats, at temperature 1
 */
export function logprob(logits, token) {
  return logits[token] - logOfSum(logits);
}

/**
 * @param {Float32Array} logits (V,)
 * @returns {Float64Array} (V,) log π of every token, in nats, at temperature 1
 */
export function logprobs(logits) {
  const total = logOfSum(logits);
  return Float64Array.from(logits, (logit) => logit - total);
}

/**
 * @param {Float32Array} logits (V,)
 * @returns {number} log Σ exp(logit)
 */
function logOfSum(logits) {
  const largest = logits[greedy(logits)];
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - largest);
  return largest + Math.log(total);
}
