/**
 * Reads a safetensors file: 8 bytes of header length (little endian), a JSON header, the tensors.
 *
 * The same checks as the reference implementation: a file that is cut off, padded, or whose tensors
 * overlap is refused, so that no weight is ever read from the wrong place.
 */

import { LanguageModelError, require } from "./errors.js";

/**
 * @typedef {object} Tensor
 * @property {number[]} shape
 * @property {Float32Array} data row-major
 */

/** @type {Record<string, { bytes: number, read: (buffer: ArrayBuffer) => Float32Array }>} */
const DTYPES = {
  F32: { bytes: 4, read: (buffer) => new Float32Array(buffer) },
  F16: { bytes: 2, read: (buffer) => widenHalves(new Uint16Array(buffer)) },
  I8: { bytes: 1, read: (buffer) => Float32Array.from(new Int8Array(buffer)) },
};

/**
 * @param {ArrayBuffer} file
 * @param {string[]} [allowed] dtypes; without a scale, whole numbers are no weights
 * @returns {Map<string, Tensor>} every tensor as float32, by name
 * @throws {LanguageModelError} "corrupt" or "unsupported", naming the tensor
 */
export function readSafetensors(file, allowed = ["F16", "F32"]) {
  const { header, start } = readHeader(file);
  const tensors = new Map();
  let end = 0;
  for (const [name, { dtype, shape, data_offsets: offsets }] of header) {
    const known = allowed.includes(dtype);
    require(known, "unsupported", `tensor ${name}: dtype ${dtype}; read here: ${allowed.join(", ")}`);
    const type = DTYPES[dtype];
    const count = shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
    require(
      offsets[0] === end && offsets[1] - offsets[0] === count * type.bytes,
      "corrupt",
      `tensor ${name}: bytes ${offsets[0]} to ${offsets[1]} do not hold shape [${shape}]`,
    );
    end = offsets[1];
    require(start + end <= file.byteLength, "corrupt", `tensor ${name}: the file ends before it`);
    const data = type.read(file.slice(start + offsets[0], start + end));
    tensors.set(name, { shape, data });
  }
  require(start + end === file.byteLength, "corrupt", "bytes behind the last tensor");
  return tensors;
}

/**
 * @param {ArrayBuffer} file
 * @returns {{ header: [string, any][], start: number }} the tensors' entries in the order of their
 *   bytes, and where the first one begins
 */
function readHeader(file) {
  require(file.byteLength >= 8, "corrupt", "a safetensors file has at least 8 bytes");
  const length = Number(new DataView(file).getBigUint64(0, true));
  require(length <= file.byteLength - 8, "corrupt", "the safetensors header is cut off");
  let header;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(file, 8, length));
    header = Object.entries(JSON.parse(text));
  } catch {
    throw new LanguageModelError("corrupt", "the safetensors header is not JSON");
  }
  const tensors = header.filter(([name]) => name !== "__metadata__");
  for (const [name, entry] of tensors) {
    const sound =
      typeof entry?.dtype === "string" &&
      areSizes(entry.shape) &&
      areSizes(entry.data_offsets) &&
      entry.data_offsets.length === 2;
    require(sound, "corrupt", `tensor ${name}: its header entry is not one`);
  }
  tensors.sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0]);
  return { header: tensors, start: 8 + length };
}

/** @param {unknown} values */
function areSizes(values) {
  return Array.isArray(values) && values.every((n) => Number.isSafeInteger(n) && n >= 0);
}

/**
 * IEEE half to single precision, exactly. Shifted by 13 bits a half has the fields of a single
 * whose exponent is 112 too small, subnormal numbers included: one multiplication mends it.
 *
 * @param {Uint16Array} halves
 * @returns {Float32Array}
 */
function widenHalves(halves) {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i += 1) {
    const half = halves[i];
    require((half & 0x7c00) !== 0x7c00, "corrupt", "a weight is not a finite number");
    bits[i] = ((half & 0x8000) << 16) | ((half & 0x7fff) << 13);
  }
  const singles = new Float32Array(bits.buffer);
  for (let i = 0; i < singles.length; i += 1) singles[i] *= 2 ** 112;
  return singles;
}
