/**
 * Weights of one model as differences from another's: a byte for each weight of a matrix, with one
 * scale for each of its rows; the other weights as they are.
 *
 * Sums are rounded to single precision after each step, as `rlhf_lab.browser_model` rounds them.
 */

import { require } from "./errors.js";
import { readSafetensors } from "./safetensors.js";

/** @typedef {import("./safetensors.js").Tensor} Tensor */

const SCALE = ".scale";

/**
 * @param {ArrayBuffer} file
 * @returns {Map<string, Tensor>} differences by the weight's name, and scales by that and ".scale"
 * @throws {import("./errors.js").LanguageModelError} "corrupt" or "unsupported"
 */
export function readDifference(file) {
  return readSafetensors(file, ["I8", "F16", "F32"]);
}

/**
 * @param {Map<string, Tensor>} base
 * @param {Map<string, Tensor>} difference
 * @returns {Map<string, Tensor>} base + difference, with the names of both
 * @throws {import("./errors.js").LanguageModelError} "corrupt" where they do not fit each other
 */
export function addDifference(base, difference) {
  const sums = new Map();
  let used = 0;
  for (const [name, { shape, data }] of base) {
    const own = difference.get(name);
    require(own, "corrupt", `the difference has no tensor ${name}`);
    const fits = `${own.shape}` === `${shape}`;
    require(fits, "corrupt", `tensor ${name}: shape [${own.shape}], expected [${shape}]`);
    const scale = difference.get(name + SCALE);
    const wanted = shape.length > 1 ? [shape[0]] : undefined;
    const scaled = `${scale?.shape}` === `${wanted}`;
    require(scaled, "corrupt", `tensor ${name}: scales [${scale?.shape}], expected [${wanted}]`);
    used += scale ? 2 : 1;
    sums.set(name, { shape, data: sum(data, own.data, scale?.data) });
  }
  require(used === difference.size, "corrupt", "the difference has tensors that the base has not");
  return sums;
}

/**
 * @param {Float32Array} base (rows · columns)
 * @param {Float32Array} difference (rows · columns)
 * @param {Float32Array} [scales] (rows); 1 by default
 * @returns {Float32Array} base + scale · difference
 */
function sum(base, difference, scales = Float32Array.of(1)) {
  const columns = base.length / scales.length;
  const sums = new Float32Array(base.length);
  for (let i = 0; i < base.length; i += 1) {
    const scale = scales[Math.floor(i / columns)];
    sums[i] = base[i] + Math.fround(scale * difference[i]);
  }
  return sums;
}
