/**
 * Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019, §2.2) from a tokenizer.json, giving
 * the ids that the `tokenizers` library gives.
 */

import { require } from "./errors.js";

/** GPT-2's pre-tokenizer. \s would not do: JavaScript's has U+FEFF and lacks U+0085. */
const WORDS = new RegExp(
  "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+" +
    "|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+",
  "gu",
);

export class Tokenizer {
  /**
   * @param {any} json a parsed tokenizer.json
   * @throws {import("./errors.js").LanguageModelError} "unsupported" for a tokenizer that works
   *   otherwise, "corrupt" for one that contradicts itself
   */
  constructor(json) {
    requireByteLevelBpe(json);
    /** @type {Map<string, number>} */
    const vocab = new Map(Object.entries(json.model.vocab));
    const added = json.added_tokens ?? [];
    const ids = [...vocab.values(), ...added.map((/** @type {any} */ token) => token.id)];
    require(
      ids.every((id) => Number.isSafeInteger(id) && id >= 0 && id < 2 ** 24),
      "corrupt",
      "tokenizer: an id is not a number",
    );
    /** Ids lie below it; also the base in which a pair of ids is one number. */
    this.size = ids.reduce((a, b) => Math.max(a, b), 0) + 1;
    const byteOfCharacter = byteAlphabet();
    /** @type {number[]} id of each single byte */
    this.byteIds = [];
    for (const [character, byte] of byteOfCharacter) {
      const id = vocab.get(character);
      require(id !== undefined, "unsupported", `tokenizer: byte ${byte} has no token of its own`);
      this.byteIds[byte] = id;
    }
    /** @type {Map<string, number>} ids of special tokens, by their text */
    this.special = new Map(added.map((/** @type {any} */ token) => [token.content, token.id]));
    this.specialIds = new Set(this.special.values());
    this.specialPattern = alternatives([...this.special.keys()]);
    /** @type {Map<number, Uint8Array>} */
    this.bytesOfId = new Map();
    for (const [token, id] of vocab) {
      if (this.specialIds.has(id)) continue;
      const bytes = Array.from(token, (character) => byteOfCharacter.get(character) ?? -1);
      require(!bytes.includes(-1), "corrupt", `tokenizer: token ${id} is not made of bytes`);
      this.bytesOfId.set(id, Uint8Array.from(bytes));
    }
    for (const [text, id] of this.special) this.bytesOfId.set(id, new TextEncoder().encode(text));
    /** No token stands for more bytes than this. */
    this.maxTokenBytes = [...this.bytesOfId.values()].reduce((a, b) => Math.max(a, b.length), 1);
    this.merges = readMerges(json.model.merges, vocab, this.size);
  }

  /**
   * @param {string} text; a lone surrogate, which has no UTF-8 form, counts as U+FFFD
   * @returns {number[]} token ids
   */
  encode(text) {
    const encoder = new TextEncoder();
    /** @type {number[]} */
    const ids = [];
    const parts = this.specialPattern ? text.split(this.specialPattern) : [text];
    for (const part of parts) {
      const special = this.special.get(part);
      if (special !== undefined) {
        ids.push(special);
        continue;
      }
      for (const word of splitWords(part)) {
        const bytes = Array.from(encoder.encode(word), (byte) => this.byteIds[byte]);
        for (const id of this.merge(bytes)) ids.push(id);
      }
    }
    return ids;
  }

  /**
   * Joins the pair that was learned first wherever it stands, from the left, until none is left.
   *
   * @param {number[]} symbols ids of single bytes
   * @returns {number[]} ids of tokens
   */
  merge(symbols) {
    for (;;) {
      let first = null;
      let pair = -1;
      for (let i = 0; i + 1 < symbols.length; i += 1) {
        const key = symbols[i] * this.size + symbols[i + 1];
        const found = this.merges.get(key);
        if (found && (first === null || found.rank < first.rank)) [first, pair] = [found, key];
      }
      if (first === null) return symbols;
      const joined = [];
      for (let i = 0; i < symbols.length; i += 1) {
        if (i + 1 < symbols.length && symbols[i] * this.size + symbols[i + 1] === pair) {
          joined.push(first.id);
          i += 1;
        } else {
          joined.push(symbols[i]);
        }
      }
      symbols = joined;
    }
  }

  /**
   * @param {number} id
   * @returns {Uint8Array} the UTF-8 bytes of a token, perhaps only a part of a character; none for
   *   special tokens and for ids that the vocabulary has not
   */
  bytes(id) {
    const none = this.specialIds.has(id) || !this.bytesOfId.has(id);
    return none ? new Uint8Array() : /** @type {Uint8Array} */ (this.bytesOfId.get(id));
  }

  /**
   * A token to be looked at: its text, or its bytes in hexadecimal where they are a part of a
   * character only, or the name of a special token.
   *
   * @typedef {{ text: string } | { bytes: string } | { special: string }} Piece
   *
   * @param {number} id
   * @returns {Piece}
   */
  piece(id) {
    const bytes = this.bytesOfId.get(id) ?? new Uint8Array();
    if (this.specialIds.has(id)) return { special: new TextDecoder().decode(bytes) };
    try {
      return { text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes) };
    } catch {
      const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"));
      return { bytes: digits.join(" ") };
    }
  }

  /**
   * @param {Iterable<number>} ids
   * @param {{ skipSpecialTokens?: boolean }} [options]
   * @returns {string} bytes that are no UTF-8 read as U+FFFD
   */
  decode(ids, { skipSpecialTokens = true } = {}) {
    const pieces = Array.from(ids, (id) =>
      skipSpecialTokens ? this.bytes(id) : (this.bytesOfId.get(id) ?? new Uint8Array()),
    );
    const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let end = 0;
    for (const piece of pieces) {
      all.set(piece, end);
      end += piece.length;
    }
    return newDecoder().decode(all);
  }
}

/**
 * No token crosses the border of two words.
 *
 * @param {string} text
 * @returns {string[]} pieces that make up the whole text, most with a space in front
 */
export function splitWords(text) {
  return text.match(WORDS) ?? [];
}

/** A decoder that changes nothing: by default a leading U+FEFF would be dropped. */
export function newDecoder() {
  return new TextDecoder("utf-8", { ignoreBOM: true });
}

/**
 * GPT-2 writes each byte as a visible character: printable ones as themselves, the others, in
 * order, from U+0100 on.
 *
 * @returns {Map<string, number>} byte of each character
 */
function byteAlphabet() {
  const alphabet = new Map();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte += 1) {
    const visible =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
    alphabet.set(String.fromCodePoint(visible ? byte : next++), byte);
  }
  return alphabet;
}

/**
 * @param {(string | [string, string])[]} merges in the order they were learned; older files write
 *   a pair as one text with a space
 * @param {Map<string, number>} vocab
 * @param {number} size
 * @returns {Map<number, { rank: number, id: number }>} by left id · size + right id
 */
function readMerges(merges, vocab, size) {
  const table = new Map();
  merges.forEach((entry, rank) => {
    const [left, right] = typeof entry === "string" ? entry.split(" ") : entry;
    const [a, b, joined] = [vocab.get(left), vocab.get(right), vocab.get(left + right)];
    const known = a !== undefined && b !== undefined && joined !== undefined;
    require(known, "corrupt", `tokenizer: merge ${rank} has a token that the vocabulary has not`);
    table.set(a * size + b, { rank, id: joined });
  });
  return table;
}

/**
 * @param {string[]} texts
 * @returns {RegExp | null} matches any of the texts, the longest first, and keeps it in `split`
 */
function alternatives(texts) {
  if (texts.length === 0) return null;
  const longestFirst = [...texts].sort((a, b) => b.length - a.length);
  const escaped = longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  return new RegExp(`(${escaped.join("|")})`);
}

/**
 * @param {any} json
 * @throws {import("./errors.js").LanguageModelError}
 */
function requireByteLevelBpe(json) {
  const model = json?.model;
  const sound = model?.vocab instanceof Object && Array.isArray(model.merges);
  require(sound, "corrupt", "tokenizer: no vocabulary or no merges");
  const { pre_tokenizer: words, post_processor: post, added_tokens: added = [] } = json;
  /** @type {[string, boolean][]} */
  const needed = [
    ["model", (model.type ?? "BPE") === "BPE"],
    ["dropout", !model.dropout],
    ["ignore_merges", !model.ignore_merges],
    ["continuing_subword_prefix", !model.continuing_subword_prefix],
    ["end_of_word_suffix", !model.end_of_word_suffix],
    ["normalizer", !json.normalizer],
    ["pre_tokenizer", words?.type === "ByteLevel" && (words.use_regex ?? true)],
    ["add_prefix_space", words?.add_prefix_space === false],
    ["post_processor", !post || addsNothing(post)],
    ["decoder", json.decoder?.type === "ByteLevel"],
    ["added_tokens", added.every(isPlainSpecialToken)],
  ];
  for (const [part, supported] of needed) {
    require(supported, "unsupported", `tokenizer: its ${part} is not that of byte-level BPE`);
  }
}

/** @param {any} post */
function addsNothing(post) {
  const isText = (/** @type {any} */ piece) => piece.Sequence !== undefined;
  return (
    post.type === "ByteLevel" ||
    (post.type === "TemplateProcessing" && Array.isArray(post.single) && post.single.every(isText))
  );
}

/** @param {any} token */
function isPlainSpecialToken(token) {
  const { content, special, single_word: single, lstrip, rstrip } = token;
  return typeof content === "string" && content && special && !single && !lstrip && !rstrip;
}
