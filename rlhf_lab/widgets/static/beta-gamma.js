/**
 * β×γ explorer: two sliders over the runs of a published sweep. Beside them stand, for the chosen
 * cell, six numbers, a sentence, and one of four views: reward against KL, measures over PPO steps,
 * the alignment tax, and what the policy answers. In a notebook a reader trains a point of their
 * own, which is drawn on the published surface.
 */

import { drawFrontier, drawMap, drawSteps, drawTax } from "./beta-gamma-charts.js";
import {
  button,
  fill,
  html,
  numberFormat,
  radios,
  select,
  svg,
  tableOnDemand,
  uniqueId,
  watchWidth,
} from "./kit.js";
import { stopSlider } from "./stops.js";
import { openSweep } from "./sweep-data.js";

/**
 * @typedef {object} State
 * @property {number} beta of the chosen cell
 * @property {number} gamma
 * @property {"frontier" | "steps" | "tax" | "answers"} view
 * @property {string} measure that colours the map
 * @property {number} prompt index, of the answers
 * @property {number} seed of the answers
 * @property {Request} [request] the last wish of a reader who trains
 * @property {Progress} [progress] what has become of it
 * @property {import("./sweep-data.js").Run[]} [trained] points of the reader's own
 *
 * @typedef {{ number: number, action: string, beta: number, gamma: number }} Request
 * @typedef {{ status: string, stage: string, step: number, steps: number, message: string }} Progress
 */

const MEASURES = ["gold", "rm_score", "kl", "loss", "suites", "gradient_ratio"];
const VIEWS = ["frontier", "steps", "tax", "answers"];
const DIGITS = { gold: 2, rm_score: 2, kl: 1, loss: 3, gradient_ratio: 2 };
const TICK = { gold: 1, rm_score: 1, kl: 0, loss: 1, gradient_ratio: 1 };

/**
 * @param {import("./sweep-data.js").Cell | undefined} cell
 * @returns {string[]} names of the labels that say what this cell shows
 */
export function findings(cell) {
  if (cell === undefined) return ["finding_none"];
  const [gold, proxy, loss] = ["gold", "rm_score", "loss"].map((name) => cell.change(name));
  const isUp = ({ mean, low }) => (Number.isNaN(low) ? mean > 0 : low > 0);
  const isDown = ({ mean, high }) => (Number.isNaN(high) ? mean < 0 : high < 0);
  let found = "finding_unclear";
  if (isUp(gold)) found = "finding_gain";
  else if (isDown(gold)) found = proxy.mean > 0 ? "finding_fooled" : "finding_loss";
  return [found, isUp(loss) ? "finding_taxed" : "finding_untaxed"];
}

/**
 * Draws the explorer into `root`, whose content it replaces.
 *
 * @param {object} host
 * @param {HTMLElement} host.root
 * @param {object} host.data the published sweep, `state`, and perhaps `links`: addresses of its files
 * @param {Record<string, string>} host.labels
 * @param {string} host.language BCP 47 tag of the labels
 * @param {(state: State) => void} host.onChange called after each change that the reader makes
 * @returns {{ update: (changes: Partial<State>) => void, remove: () => void }} `update` shows a
 *   change that comes from elsewhere; `remove` stops listening
 */
export function render({ root, data, labels, language, onChange }) {
  let state = { ...data.state };
  let sweep = openSweep(data, state.trained ?? []);
  const id = uniqueId();
  const isLive = "progress" in state;
  const number = numberFormat(language);
  const weight = (value) => number(value, (String(value).split(".")[1] ?? "").length);
  const percent = (value, digits) => `${number(100 * value, digits)}\u202f%`;
  const isShare = (name) => name === "suites" || name.startsWith("suite/");
  const write = (name, value) =>
    isShare(name) ? percent(value, 0) : number(value, DIGITS[name] ?? 2);
  const writeChange = (name, value) =>
    (value > 0 ? "+" : "") + (isShare(name) ? number(100 * value, 0) : number(value, DIGITS[name] ?? 2));
  const nameOf = (name) => {
    const [, suite, shots] = name.split("/");
    if (suite === undefined) return labels[`m_${name}`];
    return shots === "0" ? suite : fill(labels.suite_shots, { suite, shots });
  };
  const chosen = () => sweep.cell(state.beta, state.gamma);

  const change = (changes) => {
    show(changes);
    onChange(state);
  };

  const sliders = Object.fromEntries(
    ["beta", "gamma"].map((name) => [
      name,
      stopSlider({
        label: labels[name],
        className: `rl-slider-${name}`,
        write: weight,
        onInput: (value) => change({ [name]: value }),
      }),
    ]),
  );
  const tiles = Object.fromEntries(MEASURES.map((name) => [name, tile(labels[`t_${name}`])]));
  const sentence = html("p", { class: "rl-verdict", role: "status" });
  const views = radios({
    legend: labels.view,
    values: VIEWS,
    texts: VIEWS.map((name) => labels[`view_${name}`]),
    onInput: (view) => change({ view }),
  });
  const chart = svg("svg", { class: "rl-chart rl-pick", role: "img" });
  const note = html("p", { class: "rl-small" });
  const hint = html("p", { class: "rl-small" }, labels.map_hint);
  const map = svg("svg", { class: "rl-chart rl-pick", role: "img" });
  const colourings = [...MEASURES, ...sweep.suites];
  const colouring = select({
    label: labels.map,
    texts: colourings.map(nameOf),
    onInput: (index) => change({ measure: colourings[index] }),
  });
  const answers = answerBox(data, labels, number, change);
  const training = isLive ? trainingBox(labels, number, weight, change, () => state) : null;
  const table = tableOnDemand({
    summary: labels.show_data,
    name: labels.table_name,
    download: { text: labels.download_csv, file: "beta-gamma.csv" },
    columns: [
      labels.short_beta,
      labels.short_gamma,
      labels.column_seeds,
      ...[...MEASURES, ...sweep.suites].map(nameOf),
    ],
    rows: () =>
      sweep.cells.map((cell) => [
        weight(cell.beta),
        weight(cell.gamma),
        String(cell.runs.length),
        ...[...MEASURES, ...sweep.suites].map((name) => told(name, cell.value(name))),
      ]),
  });
  root.classList.add("rl-sized");
  root.replaceChildren(
    html(
      "div",
      { class: "rl-cells" },
      html("div", { class: "rl-area-sliders" }, sliders.beta.row, sliders.gamma.row),
      html(
        "div",
        { class: "rl-area-numbers" },
        html("dl", { class: "rl-tiles" }, ...Object.values(tiles).map(({ box }) => box)),
      ),
      html("div", { class: "rl-area-sentence" }, sentence),
      html("div", { class: "rl-area-view" }, views.row, chart, answers.box, note),
      html("div", { class: "rl-area-map" }, colouring.row, map, hint),
    ),
    ...(training === null ? [] : [training.box]),
    files(data.links ?? {}, labels),
    table.details,
  );

  /** "1.23 ± 0.10", or what is known of it. */
  function told(name, { mean, high }) {
    if (!Number.isFinite(mean)) return "–";
    const half = high - mean;
    const size = isShare(name) ? number(100 * half, 0) : number(half, DIGITS[name] ?? 2);
    return write(name, mean) + (Number.isFinite(half) ? ` ± ${size}` : "");
  }

  let stopsOf = null; // the sweep whose weights the sliders have
  let pick = null;
  let pickOnMap = null;
  const widths = { chart: chart.clientWidth, map: map.clientWidth };
  const drawChart = () => {
    if (widths.chart === 0) return; // not in sight: watchWidth tells when it is
    const options = { chart, width: widths.chart, sweep, cell: chosen(), labels, number, id };
    pick = null;
    if (state.view === "frontier") pick = drawFrontier({ ...options, state, weight });
    else if (state.view === "steps") drawSteps({ ...options, data, measures: MEASURES, tickText });
    else if (state.view === "tax") drawTax({ ...options, nameOf, base: baseMean });
    chart.classList.toggle("rl-pick", pick !== null);
  };
  /** Writes the ticks of a measure: shares in percent. */
  const tickText = (name) =>
    isShare(name) ? (value, digits) => number(100 * value, Math.max(digits - 2, 0)) : number;
  const baseMean = (name) => {
    const at = data.values.indexOf(name);
    return data.base.reduce((sum, { values }) => sum + values[at], 0) / data.base.length;
  };
  const drawOverview = () => {
    if (widths.map === 0) return;
    const { measure } = state;
    const best = sweep.best("gold");
    pickOnMap = drawMap({
      chart: map,
      width: widths.map,
      sweep,
      state,
      measure,
      labels,
      weight,
      write: (name, value) => (isShare(name) ? number(100 * value, 0) : number(value, TICK[name] ?? 1)),
      isBest: (cell) => cell === best,
    });
  };

  const texts = () => {
    const cell = chosen();
    const found = { beta: weight(state.beta), gamma: weight(state.gamma), cells: String(sweep.cells.length) };
    for (const name of MEASURES) {
      const [value, moved] = [cell?.value(name).mean ?? NaN, cell?.change(name).mean ?? NaN];
      found[name] = Number.isFinite(value) ? write(name, value) : labels.unknown;
      found[`${name}_change`] = Number.isFinite(moved) ? writeChange(name, moved) : labels.unknown;
      found[`${name}_sft`] = Number.isFinite(sweep.sft(name)) ? write(name, sweep.sft(name)) : "–";
    }
    found.loss_size = found.loss_change.replace("+", "");
    found.seeds = String(cell?.runs.length ?? 0);
    return found;
  };
  const say = (node, text) => {
    // Set when it changes only: a screen reader says it again each time.
    if (node.textContent !== text) node.textContent = text;
  };
  const describeTax = (cell) =>
    sweep.suites
      .map((name) =>
        fill(labels.chart_suite, {
          suite: nameOf(name),
          value: percent(cell?.value(name).mean ?? NaN, 0),
          sft: percent(sweep.sft(name), 0),
        }),
      )
      .join("; ");

  const show = (changes) => {
    const before = state;
    state = { ...state, ...changes };
    if (state.trained !== before.trained) sweep = openSweep(data, state.trained);
    if (sweep !== stopsOf) {
      stopsOf = sweep;
      sliders.beta.setStops(sweep.betas);
      sliders.gamma.setStops(sweep.gammas);
    }
    const cell = chosen();
    const said = texts();
    for (const [name, slider] of Object.entries(sliders)) {
      const spoken = cell === undefined ? labels.spoken_none : labels.spoken;
      slider.show(state[name], fill(spoken, { ...said, name: labels[`short_${name}`], weight: said[name] }));
    }
    for (const name of MEASURES) {
      const value = cell?.value(name);
      const moved = cell?.change(name).mean;
      tiles[name].show(
        value === undefined ? "–" : told(name, value),
        Number.isFinite(moved) && name !== "kl" && cell.runs.length > 0
          ? fill(labels.since_sft, { change: writeChange(name, moved) })
          : labels[`u_${name}`],
      );
    }
    say(sentence, findings(cell).map((name) => fill(labels[name], said)).join(" "));
    views.show(state.view);
    chart.toggleAttribute("hidden", state.view === "answers");
    answers.box.hidden = state.view !== "answers";
    colouring.show(colourings.indexOf(state.measure));
    drawChart();
    drawOverview();
    say(note, labels[`note_${state.view}`]);
    const about = { ...said, suites_list: state.view === "tax" ? describeTax(cell) : "" };
    chart.setAttribute("aria-label", fill(labels[`chart_${state.view}`] ?? "", about));
    const best = sweep.best("gold");
    map.setAttribute(
      "aria-label",
      fill(labels.chart_map, {
        ...said,
        measure: nameOf(state.measure),
        best_beta: weight(best.beta),
        best_gamma: weight(best.gamma),
      }),
    );
    answers.show(cell, state);
    training?.show(state);
    table.update();
  };

  const follow = (node, pickAt) => {
    node.addEventListener("click", (event) => {
      const box = node.getBoundingClientRect();
      const cell = pickAt()?.(event.clientX - box.left, event.clientY - box.top);
      if (cell !== undefined) change({ beta: cell.beta, gamma: cell.gamma });
    });
  };
  follow(chart, () => pick);
  follow(map, () => pickOnMap);

  const unwatch = [
    watchWidth(chart, (width) => {
      widths.chart = width;
      drawChart();
    }),
    watchWidth(map, (width) => {
      widths.map = width;
      drawOverview();
    }),
  ];
  show({});
  return {
    update: show,
    remove() {
      for (const end of unwatch) end();
    },
  };
}

/** A number with its name above and a remark below. */
function tile(name) {
  const mean = html("b");
  const spread = html("span");
  const value = html("dd", { class: "rl-tile-value" }, mean, spread);
  const remark = html("dd", { class: "rl-tile-remark" });
  return {
    box: html("div", {}, html("dt", {}, name), value, remark),
    /** @param {string} text a mean, perhaps followed by ± and its half-width */
    show(text, more) {
      const end = text.includes(" ±") ? text.indexOf(" ±") : text.length;
      mean.textContent = text.slice(0, end);
      spread.textContent = text.slice(end);
      remark.textContent = more;
    },
  };
}

/** What SFT and the chosen policy answer to a prompt. */
function answerBox(data, labels, number, change) {
  if (data.prompts.length === 0) return { box: html("div", { hidden: "" }), show() {} };
  const short = (text) => (text.length > 60 ? `${text.slice(0, 59).trimEnd()}…` : text);
  const prompts = select({
    label: labels.prompt,
    texts: data.prompts.map(({ kind, text }) =>
      fill(labels.prompt_option, { kind, text: short(text.trim().replace(/\s+/g, " ")) }),
    ),
    onInput: (prompt) => change({ prompt }),
  });
  const seeds = [...new Set(data.runs.map((run) => run.seed))].sort((one, two) => one - two);
  const seed = select({
    label: labels.seed,
    texts: seeds.map(String),
    onInput: (index) => change({ seed: seeds[index] }),
  });
  const text = html("p", { class: "rl-prompt" });
  const columns = ["sft", "chosen"].map((who) => {
    const head = html("p", { class: "rl-heading" });
    const said = html("p", { class: "rl-text" });
    const marks = html("p", { class: "rl-small" });
    const box = html("div", { class: `rl-said rl-said-${who}` }, head, said, marks);
    return { head, said, marks, box };
  });
  const fillColumn = ({ head, said, marks }, name, answer) => {
    head.textContent = name;
    said.textContent = answer === null ? labels.no_answer : answer[0] || labels.empty_answer;
    marks.textContent =
      answer === null
        ? ""
        : fill(labels.answer_marks, { gold: number(answer[1], 2), rm_score: number(answer[2], 2) });
  };
  return {
    box: html(
      "div",
      { class: "rl-answers-of" },
      html("div", { class: "rl-selects" }, prompts.row, seed.row),
      text,
      html("div", { class: "rl-pair" }, ...columns.map(({ box }) => box)),
    ),
    show(cell, state) {
      prompts.show(state.prompt);
      seed.show(seeds.indexOf(state.seed));
      text.textContent = data.prompts[state.prompt].text.trim();
      const before = data.sft.find((entry) => entry.seed === state.seed);
      const run = cell?.runs.find((one) => one.seed === state.seed) ?? cell?.runs[0];
      fillColumn(columns[0], labels.sft_answers, before?.answers[state.prompt] ?? null);
      fillColumn(columns[1], labels.policy_answers, run?.answers[state.prompt] ?? null);
    },
  };
}

/** Links to the sweep's own files. */
function files(links, labels) {
  const entries = Object.entries(links);
  const parts = entries.map(([name, href]) => html("a", { href, download: "" }, labels[`file_${name}`]));
  const box = html("p", { class: "rl-small rl-files" }, labels.files, ...parts);
  box.hidden = entries.length === 0;
  return box;
}

/** Two weights of the reader's own, a button that trains them, progress and an end to it. */
function trainingBox(labels, number, weight, change, stateOf) {
  const inputs = Object.fromEntries(
    ["beta", "gamma"].map((name) => {
      const id = uniqueId();
      const input = html("input", { id, type: "number", min: 0, step: "any", required: "" });
      const label = html("label", { for: id }, labels[`short_${name}`]);
      const row = html("span", { class: "rl-weight" }, label, input);
      return [name, { input, row }];
    }),
  );
  const ask = (action) => {
    const { request } = stateOf();
    const [beta, gamma] = ["beta", "gamma"].map((name) => inputs[name].input.valueAsNumber);
    change({ request: { number: request.number + 1, action, beta, gamma } });
  };
  const form = html("form", { class: "rl-bar" });
  const train = button(labels.train, () => {}, { class: "rl-button rl-primary", type: "submit" });
  const cancel = button(labels.cancel, () => ask("cancel"));
  form.append(inputs.beta.row, inputs.gamma.row, train, cancel);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask("train");
  });
  const bar = html("progress", { max: 1, "aria-label": labels.train_progress });
  const status = html("p", { class: "rl-small", role: "status" });
  const box = html(
    "div",
    { class: "rl-training" },
    html("p", { class: "rl-heading" }, labels.train_heading),
    form,
    html("div", { class: "rl-bar" }, bar, status),
  );
  let shown = {};
  return {
    box,
    show(state) {
      for (const name of ["beta", "gamma"]) {
        // The chosen cell is where a reader starts from; what they typed stays until they move on.
        if (shown[name] !== state[name]) inputs[name].input.value = String(state[name]);
      }
      shown = state;
      const { progress } = state;
      const isRunning = progress.status === "running";
      train.disabled = isRunning;
      cancel.disabled = !isRunning;
      bar.hidden = !isRunning;
      const isCounted = isRunning && progress.steps > 0;
      if (isCounted) bar.value = progress.step / progress.steps;
      else bar.removeAttribute("value");
      const kind = isRunning && !isCounted ? "preparing" : progress.status;
      const text = fill(labels[`train_${kind}`], {
        stage: labels[`stage_${progress.stage}`] ?? progress.stage,
        step: number(progress.step, 0),
        steps: number(progress.steps, 0),
        message: progress.message,
      });
      if (status.textContent !== text) status.textContent = text;
    },
  };
}
