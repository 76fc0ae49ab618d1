/**
 * Model chooser: four groups of questions, and what they leave of the models of a dated file. It
 * names no winner: it says what passes, what a month costs, how much more often a dearer model must
 * be right, and how long it was left to run.
 *
 * The numbers are those of `rlhf_lab.choosing`; the rows those of `rlhf_lab.widgets.chooser.answer`.
 */

import { fill, html, numberFormat, plainSwitch, radios, slider } from "./kit.js";

/**
 * @typedef {object} State
 * @property {string} date YYYY-MM-DD
 * @property {boolean} images whether images go in
 * @property {string} error what goes wrong with an answer
 * @property {number} tokens_in of a prompt
 * @property {number} tokens_out of an answer
 * @property {number} hidden reasoning tokens for each visible one
 * @property {number} requests a month
 * @property {number} error_cost dollars for one wrong answer
 * @property {number} months for which the model must stay as it is
 *
 * @typedef {object} Model
 * @property {string} id
 * @property {string} released
 * @property {string} ended the day on which it is switched off, or nothing
 * @property {string} notice the day on which that was announced, or nothing
 * @property {number} context
 * @property {boolean} images
 * @property {boolean} reasons
 * @property {{ from: string, in: number, out: number }[]} prices
 * @property {Record<string, number>} scores
 */

const SLIDERS = ["tokens_in", "tokens_out", "requests", "hidden", "error_cost", "months"];

/** Whole months from one day to a later one, both YYYY-MM-DD. */
export function monthsBetween(start, end) {
  const [one, two] = [start, end].map((day) => day.split("-").map(Number));
  const months = 12 * (two[0] - one[0]) + two[1] - one[1];
  return months - (two[2] < one[2] ? 1 : 0);
}

/**
 * The models that one could call on the day, in order of release.
 *
 * @param {{ models: Model[], errors: Record<string, string> }} data
 * @param {State} state
 * @returns {{ id: string, fails: string[], total: number, context: number, cost: number,
 *   gap: number | null, score: number | null, left: number | null, announced: boolean }[]}
 */
export function answers({ models, errors }, state) {
  const { date, tokens_in, tokens_out } = state;
  const there = models.filter(
    ({ released, ended }) => released <= date && (ended === "" || ended > date),
  );
  const rows = there.map((model) => {
    const hidden = model.reasons ? state.hidden * tokens_out : 0;
    const price = model.prices.findLast(({ from }) => from <= date);
    const total = tokens_in + tokens_out + hidden;
    const fails = [];
    if (state.images && !model.images) fails.push("images");
    if (total > model.context) fails.push("context");
    return {
      id: model.id,
      released: model.released,
      fails,
      total,
      context: model.context,
      cost: (tokens_in * price.in + (tokens_out + hidden) * price.out) / 1e6,
      gap: null,
      score: model.scores[errors[state.error]] ?? null,
      left: model.ended === "" ? null : monthsBetween(date, model.ended),
      announced: model.notice !== "" && model.notice <= date,
    };
  });
  const order = ({ released, id }) => `${released} ${id}`;
  rows.sort((one, two) => (order(one) < order(two) ? -1 : 1));
  const passing = rows.filter(({ fails }) => fails.length === 0);
  const cheapest = Math.min(...passing.map(({ cost }) => cost));
  for (const row of passing) row.gap = (row.cost - cheapest) / state.error_cost;
  return rows;
}

/**
 * Draws the chooser into `root`, whose content it replaces; a table that the page has brought stays
 * at hand, and is what is printed.
 *
 * @param {object} host
 * @param {HTMLElement} host.root
 * @param {object} host.data
 * @param {Record<string, string>} host.labels
 * @param {string} host.language BCP 47 tag of the labels
 * @param {(state: State) => void} host.onChange called after each change that the reader makes
 * @returns {{ update: (changes: Partial<State>) => void, remove: () => void }} `update` shows a
 *   change that comes from elsewhere; `remove` stops listening
 */
export function render({ root, data, labels, language, onChange }) {
  const { days, stops, written, errors } = data;
  const number = numberFormat(language);
  const dollars = (value) => fill(labels.dollars, { number: number(value, value < 100 ? 2 : 0) });
  const writes = {
    error_cost: dollars,
    months: (value) => number(value, 0),
    hidden: (value) => number(value, 0),
    tokens_in: (value) => number(value, 0),
    tokens_out: (value) => number(value, 0),
    requests: (value) => number(value, 0),
  };
  let state = { ...data.state };

  const change = (changes) => {
    show(changes);
    onChange(state);
  };
  /** A slider over given values. */
  const stopped = (label, values, name) =>
    slider({
      label,
      range: { min: 0, max: values.length - 1, step: 1 },
      onInput: (index) => change({ [name]: values[index] }),
    });
  const day = stopped(labels.date, days, "date");
  const controls = Object.fromEntries(
    SLIDERS.map((name) => [name, stopped(labels[name], stops[name], name)]),
  );
  const images = radios({
    legend: labels.images,
    values: ["no", "yes"],
    texts: [labels.images_no, labels.images_yes],
    onInput: (value) => change({ images: value === "yes" }),
  });
  const kinds = Object.keys(errors);
  const error = radios({
    legend: labels.error,
    values: kinds,
    texts: kinds.map((kind) => labels[`error_${kind}`]),
    onInput: (value) => change({ error: value }),
  });
  const capability = html("p", { class: "rl-small" });
  const part = (name, ...children) =>
    html(
      "section",
      { class: "rl-part", "aria-label": labels[`part_${name}`] },
      html("p", { class: "rl-heading" }, labels[`part_${name}`]),
      ...children,
    );
  const row = (name) => controls[name].row;
  const needNote = html("p", { class: "rl-small" }, labels.need_note);
  const hiddenNote = html("p", { class: "rl-small" }, labels.hidden_note);
  const sentence = html("p", { class: "rl-verdict", role: "status" });
  const passes = html("ul", { class: "rl-models", "aria-label": labels.passes_short });
  const fails = html("ul", { class: "rl-failing", "aria-label": labels.fails });
  const failsHeading = html("p", { class: "rl-heading" }, labels.fails);
  const note = fill(labels.note, { checked: written[data.checked] });
  const drawing = html(
    "div",
    { class: "rl-chooser" },
    html("div", { class: "rl-day" }, day.row),
    html(
      "div",
      { class: "rl-parts" },
      part("need", images.row, row("tokens_in"), row("tokens_out"), needNote),
      part("capability", error.row, capability),
      part("cost", row("requests"), row("hidden"), hiddenNote),
      part("risk", row("error_cost"), row("months")),
    ),
    sentence,
    html("p", { class: "rl-small" }, labels.passes),
    passes,
    failsHeading,
    fails,
    html("p", { class: "rl-small" }, labels.cannot_say),
    html("p", { class: "rl-small" }, note),
  );
  const plain = root.querySelector(".rl-plain");
  root.classList.add("rl-sized");
  root.replaceChildren(drawing);
  if (plain) {
    const texts = { toPlain: labels.as_list, toDrawing: labels.as_drawing };
    root.append(plainSwitch({ plain, drawing, ...texts }), plain);
  }

  const show = (changes) => {
    state = { ...state, ...changes };
    const rows = answers(data, state);
    const passing = rows.filter((found) => found.fails.length === 0);
    const failing = rows.filter((found) => found.fails.length > 0);
    const texts = { passing: String(passing.length), count: String(rows.length) };
    const date = written[state.date];
    day.show(days.indexOf(state.date), date, fill(labels.date_spoken, { date, ...texts }));
    for (const name of SLIDERS) {
      const value = writes[name](state[name]);
      const spoken = fill(labels.value_spoken, { name: labels[name], value, ...texts });
      controls[name].show(stops[name].indexOf(state[name]), value, spoken);
    }
    images.show(state.images ? "yes" : "no");
    error.show(state.error);
    capability.textContent = labels[`capability_${state.error}`];
    const said = verdictText(passing, rows.length, date);
    if (sentence.textContent !== said) sentence.textContent = said;
    passes.replaceChildren(...passing.map(passingItem));
    failsHeading.hidden = failing.length === 0;
    fails.hidden = failing.length === 0;
    fails.replaceChildren(...failing.map(failingItem));
  };

  const verdictText = (passing, count, date) => {
    const month = (found) => dollars(found.cost * state.requests);
    const sorted = [...passing].sort((one, two) => one.cost - two.cost);
    const texts = { date, count: String(count), passing: String(passing.length) };
    if (passing.length === 0) return fill(labels.none_pass, texts);
    texts.low = month(sorted[0]);
    texts.high = month(sorted.at(-1));
    const told = fill(passing.length === 1 ? labels.one_passes : labels.some_pass, texts);
    const ending = passing.filter(({ left }) => left !== null && left < state.months);
    if (ending.length === 0) return told;
    texts.gone = String(ending.length);
    const announced = ending.filter((found) => found.announced).length;
    texts.told = announced === 0 ? labels.none : String(announced);
    texts.months = String(state.months);
    return `${told} ${fill(labels.risk_sentence, texts)}`;
  };

  const passingItem = (found) => {
    const measure = errors[state.error];
    const pair = (name, text) => html("div", {}, html("dt", {}, name), html("dd", {}, text));
    const pairs = [
      pair(labels.per_month, dollars(found.cost * state.requests)),
      pair(labels.gap, gapText(found.gap)),
    ];
    if (measure !== "") {
      const score = found.score === null ? labels.no_score : `${number(found.score, 1)} %`;
      pairs.push(pair(labels[`measure_${measure}`], score));
    }
    pairs.push(pair(labels.left, leftText(found.left)));
    return html("li", {}, html("p", { class: "rl-model" }, found.id), html("dl", {}, ...pairs));
  };
  const gapText = (gap) => {
    if (gap === 0) return labels.gap_cheapest;
    if (gap > 1) return labels.gap_too_much;
    const points = 100 * gap;
    return fill(labels.gap_points, { points: number(points, points < 10 ? 2 : 1) });
  };
  const leftText = (left) => {
    if (left === null) return labels.left_open;
    const text = left < state.months ? labels.left_short : labels.left_months;
    return fill(text, { months: String(left) });
  };
  const failingItem = (found) => {
    const texts = { total: number(found.total, 0), context: number(found.context, 0) };
    const reasons = found.fails.map((name) => fill(labels[`fails_${name}`], texts));
    return html("li", {}, html("b", {}, found.id), `: ${reasons.join("; ")}`);
  };

  show({});
  return { update: show, remove: () => {} };
}
