/**
 * PPO clip explorer: L = min(ρ·A, clip(ρ, 1 − ε, 1 + ε)·A) of one token, over its ratio ρ
 * (Schulman et al. 2017, equation 7). Three sliders, and a point that can be dragged.
 *
 * The numbers are those of `rlhf_lab.objectives.ppo_policy_loss`, whose loss is −L.
 */

import { fill, html, linear, numberFormat, slider, svg, tableOnDemand, watchWidth } from "./kit.js";

/**
 * @typedef {object} State
 * @property {number} ratio ρ = π_θ/π_old of the token, above 0
 * @property {number} epsilon ε, in (0, 1)
 * @property {number} advantage A
 */

const TABLE_STEP = 0.1;

/**
 * @param {State} state
 * @returns {{ plain: number, clipped: number, value: number, isClipped: boolean, gradient: number }}
 *   both terms, L, whether the clipped term alone counts, and ∂L/∂log π_θ = ρ·∂L/∂ρ
 */
export function clipObjective({ ratio, epsilon, advantage }) {
  const bounded = Math.min(Math.max(ratio, 1 - epsilon), 1 + epsilon);
  const plain = ratio * advantage;
  const clipped = bounded * advantage;
  const isClipped = clipped < plain;
  return { plain, clipped, value: Math.min(plain, clipped), isClipped, gradient: isClipped ? 0 : plain };
}

/**
 * @param {State} state
 * @returns {string} which of six sentences applies: the name of its label
 */
export function verdict({ ratio, epsilon, advantage }) {
  if (advantage === 0) return "verdict_nothing";
  const sign = advantage > 0 ? "good" : "bad";
  if (ratio > 1 + epsilon) return `verdict_${sign}_above`;
  if (ratio < 1 - epsilon) return `verdict_${sign}_below`;
  return `verdict_${sign}_inside`;
}

/** The ratios at which this token has no gradient, or null: [from, to]. */
function deadZone({ epsilon, advantage }, range) {
  if (advantage > 0) return [1 + epsilon, range.max];
  if (advantage < 0) return [0, 1 - epsilon];
  return null;
}

/**
 * Draws the explorer into `root`, whose content it replaces.
 *
 * @param {object} host
 * @param {HTMLElement} host.root
 * @param {{ state: State, ranges: Record<keyof State, { min: number, max: number, step: number }> }}
 *   host.data
 * @param {Record<string, string>} host.labels
 * @param {string} host.language BCP 47 tag of the labels
 * @param {(state: State) => void} host.onChange called after each change that the reader makes
 * @returns {{ update: (changes: Partial<State>) => void, remove: () => void }} `update` shows a
 *   change that comes from elsewhere; `remove` stops listening
 */
export function render({ root, data, labels, language, onChange }) {
  const { ranges } = data;
  let state = { ...data.state };
  const number = numberFormat(language);
  const signed = (value, digits) => (value > 0 ? "+" : "") + number(value, digits);

  const change = (changes) => {
    show(changes);
    onChange(state);
  };
  const control = (name) =>
    slider({ label: labels[name], range: ranges[name], onInput: (value) => change({ [name]: value }) });
  const controls = Object.fromEntries(
    ["ratio", "advantage", "epsilon"].map((name) => [name, control(name)]),
  );
  const chart = svg("svg", { class: "rl-chart", role: "img" });
  const numbers = Object.fromEntries(
    ["plain", "clipped", "value", "gradient"].map((name) => [name, html("dd")]),
  );
  const lines = Object.entries(numbers).map(([name, cell]) =>
    html("div", {}, html("dt", {}, labels[name]), cell),
  );
  const sentence = html("p", { class: "rl-verdict", role: "status" });
  const table = tableOnDemand({
    summary: labels.show_data,
    name: labels.table_name,
    download: { text: labels.download_csv, file: "ppo-clip.csv" },
    columns: [labels.ratio_short, labels.plain, labels.clipped, labels.value, labels.gradient],
    rows: () => tableRows(state, ranges.ratio, number),
  });
  root.replaceChildren(
    legend(labels),
    chart,
    html("div", { class: "rl-sliders" }, ...Object.values(controls).map(({ row }) => row)),
    html("dl", { class: "rl-readout" }, ...lines),
    sentence,
    table.details,
  );

  let plot = null;
  let width = chart.clientWidth; // asked here once: after each change it would cost a layout
  const draw = () => {
    plot = drawChart(chart, width, state, ranges.ratio, labels, number);
  };

  const show = (changes) => {
    state = { ...state, ...changes };
    const found = clipObjective(state);
    const texts = {
      ratio: number(state.ratio, 2),
      epsilon: number(state.epsilon, 2),
      advantage: signed(state.advantage, 1),
      low: number(1 - state.epsilon, 2),
      high: number(1 + state.epsilon, 2),
      plain: signed(found.plain, 3),
      clipped: signed(found.clipped, 3),
      value: signed(found.value, 3),
      gradient: signed(found.gradient, 3),
    };
    texts.pull = fill(labels[found.gradient === 0 ? "pull_none" : "pull_some"], texts);
    for (const [name, { show: place }] of Object.entries(controls)) {
      place(state[name], texts[name], fill(labels[`${name}_spoken`], texts));
    }
    for (const [name, cell] of Object.entries(numbers)) cell.textContent = texts[name];
    // Set when it changes only: a screen reader says it again each time.
    const said = labels[verdict(state)];
    if (sentence.textContent !== said) sentence.textContent = said;
    chart.setAttribute("aria-label", fill(labels.chart, texts));
    draw();
    table.update();
  };

  const follow = (event) => {
    const { min, max, step } = ranges.ratio;
    const raw = plot.value(event.clientX - chart.getBoundingClientRect().left);
    const snapped = Math.round(Math.min(Math.max(raw, min), max) / step) * step;
    change({ ratio: Number(snapped.toFixed(6)) });
  };
  chart.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    chart.setPointerCapture(event.pointerId);
    follow(event);
  });
  chart.addEventListener("pointermove", (event) => {
    if (chart.hasPointerCapture(event.pointerId)) follow(event);
  });

  const unwatch = watchWidth(chart, (changed) => {
    width = changed;
    draw();
  });
  show({});
  return { update: show, remove: unwatch };
}

/** One sample of each line with its name; the patterns differ as well as the colours. */
function legend(labels) {
  const sample = (mark) => svg("svg", { width: 34, height: 12, "aria-hidden": "true" }, mark);
  const line = (name) => sample(svg("path", { class: `rl-line rl-line-${name}`, d: "M1 6H33" }));
  const zone = sample(svg("rect", { class: "rl-zone", x: 1, y: 0, width: 32, height: 12 }));
  const entry = (mark, text) => html("li", {}, mark, text);
  return html(
    "ul",
    { class: "rl-legend" },
    entry(line("value"), labels.value),
    entry(line("plain"), labels.plain),
    entry(line("clipped"), labels.clipped),
    entry(zone, labels.zone),
  );
}

/**
 * @param {State} state
 * @param {{ max: number }} range of the ratio
 * @returns {string[][]}
 */
function tableRows(state, range, number) {
  const rows = [];
  for (let i = 1; i * TABLE_STEP <= range.max + 1e-9; i += 1) {
    const ratio = Number((i * TABLE_STEP).toFixed(6));
    const found = clipObjective({ ...state, ratio });
    const values = [found.plain, found.clipped, found.value, found.gradient];
    rows.push([number(ratio, 1), ...values.map((value) => number(value, 3))]);
  }
  return rows;
}

/** Redraws the chart, `width` pixels wide. Returns the horizontal scale. */
function drawChart(chart, width, state, range, labels, number) {
  const height = Math.round(Math.min(Math.max(0.52 * width, 240), 340));
  const edge = { left: 62, right: 14, top: 24, bottom: 44 };
  const x = linear([0, range.max], [edge.left, width - edge.right]);
  // Half the plane would always be empty: show the side that the advantage's sign puts L on.
  const reach = (Math.abs(state.advantage) <= 1 ? 1 : 2) * range.max;
  const sides = state.advantage < 0 ? [-reach, 0] : [0, reach];
  const y = linear(sides, [height - edge.bottom, edge.top]);
  const bottom = height - edge.bottom;
  const right = width - edge.right;
  const { epsilon } = state;

  const text = (left, top, words, anchor = "middle") =>
    svg("text", { x: left, y: top, "text-anchor": anchor }, words);
  const curve = (name, value) => {
    const corners = [0, 1 - epsilon, 1 + epsilon, range.max];
    const points = corners.map((ratio) => `${x.place(ratio)} ${y.place(value(ratio))}`);
    return svg("path", { class: `rl-line rl-line-${name}`, d: `M${points.join("L")}` });
  };
  const at = (ratio) => clipObjective({ ...state, ratio });

  const parts = [];
  const zone = deadZone(state, range);
  if (zone) {
    const [from, to] = zone.map(x.place);
    const box = { x: from, y: edge.top, width: to - from, height: bottom - edge.top };
    parts.push(svg("rect", { class: "rl-zone", ...box }));
  }
  const xTicks = [0, 0.5, 1, 1.5, 2].filter((tick) => tick <= range.max);
  const yTicks = [0, 0.25, 0.5, 0.75, 1].map((share) => sides[0] + share * reach);
  let grid = "";
  for (const tick of yTicks) grid += `M${edge.left} ${y.place(tick)}H${right}`;
  for (const tick of xTicks) grid += `M${x.place(tick)} ${edge.top}V${bottom}`;
  parts.push(svg("path", { class: "rl-grid", d: grid }));
  for (const tick of yTicks) {
    parts.push(text(edge.left - 8, y.place(tick) + 4, number(tick, 1), "end"));
  }
  for (const tick of xTicks) parts.push(text(x.place(tick), bottom + 18, number(tick, 1)));
  parts.push(text((edge.left + right) / 2, height - 6, labels.x_axis));
  const upright = { transform: `rotate(-90 14 ${(edge.top + bottom) / 2})` };
  parts.push(svg("g", upright, text(14, (edge.top + bottom) / 2, labels.y_axis)));

  for (const [limit, name, anchor] of [
    [1 - epsilon, "1 − ε", "end"],
    [1 + epsilon, "1 + ε", "start"],
  ]) {
    const left = x.place(limit);
    parts.push(svg("path", { class: "rl-limit", d: `M${left} ${edge.top - 4}V${bottom}` }));
    parts.push(text(left, edge.top - 9, name, anchor));
  }
  parts.push(curve("clipped", (ratio) => at(ratio).clipped));
  parts.push(curve("plain", (ratio) => at(ratio).plain));
  parts.push(curve("value", (ratio) => at(ratio).value));
  parts.push(...drawPoint(x, y, state));
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.setAttribute("height", String(height));
  chart.replaceChildren(...parts);
  return x;
}

/** The point on L: full with an arrow along its gradient, or hollow where there is none. */
function drawPoint(x, y, state) {
  const { value, gradient } = clipObjective(state);
  const [left, top] = [x.place(state.ratio), y.place(value)];
  const parts = [svg("path", { class: "rl-drop", d: `M${left} ${top}V${y.place(0)}` })];
  if (gradient !== 0) {
    const ratio = state.ratio + Math.sign(gradient) * 0.01;
    const [right, bottom] = [x.place(ratio), y.place(ratio * state.advantage)];
    const angle = (Math.atan2(bottom - top, right - left) * 180) / Math.PI;
    const turn = `translate(${left} ${top}) rotate(${angle})`;
    parts.push(svg("path", { class: "rl-arrow", d: "M0 0H26M18-6L27 0L18 6", transform: turn }));
  }
  const kind = gradient === 0 ? "rl-point rl-point-hollow" : "rl-point";
  parts.push(svg("circle", { class: kind, cx: left, cy: top, r: 7 }));
  return parts;
}
