/**
 * Why a model cannot be loaded or cannot answer. A page shows its own sentence for each code (the
 * book has more than one language); the message says the details, in English.
 *
 * - "network":         a file did not arrive: no connection, or the server has no such file
 * - "corrupt":         a file arrived, but is truncated, altered, or contradicts itself
 * - "unsupported":     a sound file of a model or tokenizer that this code cannot run
 * - "not-loaded":      an answer was asked of a model before it was loaded
 * - "invalid-option":  a number outside its range
 * - "empty-prompt":    there is nothing to answer
 * - "prompt-too-long": prompt and answer do not fit in the model's context
 * - "cancelled":       the reader asked to stop
 * - "worker":          the worker could not start, or stopped
 *
 * @typedef {"network" | "corrupt" | "unsupported" | "not-loaded" | "invalid-option" |
 *   "empty-prompt" | "prompt-too-long" | "cancelled" | "worker"} ErrorCode
 */

export class LanguageModelError extends Error {
  name = "LanguageModelError";

  /**
   * @param {ErrorCode} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * @param {unknown} condition
 * @param {ErrorCode} code
 * @param {string} message
 * @returns {asserts condition}
 */
export function require(condition, code, message) {
  if (!condition) throw new LanguageModelError(code, message);
}
