/**
 * Over-optimisation explorer: what a reward model says and what the gold score says, against the
 * distance d = √KL from the first policy, with the forms that Gao, Schulman and Hilton (2023)
 * fitted: R(d) = d·(a − b·log d) for reinforcement learning, R(d) = d·(a − b·d) for best-of-n. They
 * write α and β; here β is the price of KL. A slider asks where a reader would stop. The data are
 * described in `rlhf_lab.widgets.over_optimisation`.
 */

import {
  fill,
  html,
  linear,
  numberFormat,
  radios,
  slider,
  svg,
  tableOnDemand,
  uniqueId,
  watchWidth,
} from "./kit.js";
import { LEFT, RIGHT, clip, dot, evenTicks, frame, layers, line, pixel, roomy } from "./panels.js";

/**
 * @typedef {object} State
 * @property {string} model the reward model's id
 * @property {"rl" | "bon"} method by which it is followed, and the form that is fitted
 * @property {number} stop √KL at which the reader would stop
 *
 * @typedef {{ a: number, b: number }} Fit
 */

const SCORES = ["proxy", "gold"];
const METHODS = ["rl", "bon"];
const CURVE = 80; // points of a drawn form

/** What multiplies −b in R(d)/d. */
function bend(form, d) {
  return form === "rl" ? Math.log(d) : d;
}

/** R(d) of a form; 0 at 0. */
export function gainAt({ a, b }, form, d) {
  return d > 0 ? d * (a - b * bend(form, d)) : 0;
}

/**
 * Least squares of R(d) = d·(a − b·bend(d)) over points [d, R].
 *
 * @param {[number, number][]} points
 * @param {"rl" | "bon"} form
 * @returns {Fit | null} null where the points do not determine it
 */
export function fitForm(points, form) {
  const used = points.filter(([d]) => d > 0);
  let [xx, xy, yy, xr, yr] = [0, 0, 0, 0, 0];
  for (const [d, gain] of used) {
    const [x, y] = [d, -d * bend(form, d)];
    xx += x * x;
    xy += x * y;
    yy += y * y;
    xr += x * gain;
    yr += y * gain;
  }
  const determinant = xx * yy - xy * xy;
  if (used.length < 2 || determinant <= 1e-9 * xx * yy) return null;
  return { a: (xr * yy - yr * xy) / determinant, b: (yr * xx - xr * xy) / determinant };
}

/** Where R is highest: d, or null where it only rises. */
export function peakOf({ a, b }, form) {
  if (b <= 0) return null;
  const at = form === "rl" ? Math.exp(a / b - 1) : a / (2 * b);
  return at > 0 ? at : null;
}

/**
 * Draws the explorer into `root`, whose content it replaces; see `beta-gamma.js` for the arguments.
 */
export function render({ root, data, labels, language, onChange }) {
  let state = { ...data.state };
  const id = uniqueId();
  const number = numberFormat(language);
  const signed = (value) => (value > 0 ? "+" : "") + number(value, 2);
  const step = data.step;
  const ids = data.models.map((model) => model.id);
  const names = data.models.map((model) => {
    const kind = model.layers > 0 ? "shortened" : model.rankings > 0 ? "ranked" : "examiner";
    return fill(labels[`model_${kind}`], { rankings: model.rankings, layers: model.layers });
  });

  /** Points of the shown reward model, by the shown method or by the other one. */
  const places = (isChosen) =>
    data.points.filter(
      (point) =>
        point.model === ids.indexOf(state.model) && isChosen === (point.method === state.method),
    );
  const pointsOf = (name, isChosen) =>
    places(isChosen).map((point) => [Math.sqrt(Math.max(point.kl, 0)), point[name]]);
  /** As far as the shown method has gone by the shown reward model. */
  const reach = () => {
    const far = Math.max(...places(true).map((point) => Math.sqrt(Math.max(point.kl, 0))), step);
    return Number((Math.ceil((far * 1.02) / step) * step).toFixed(6));
  };

  const change = (changes) => {
    show(changes);
    onChange(state);
  };
  const models = radios({
    legend: labels.model,
    values: ids,
    texts: names,
    onInput: (model) => change({ model }),
  });
  const methods = radios({
    legend: labels.method,
    values: METHODS,
    texts: METHODS.map((name) => labels[`method_${name}`]),
    onInput: (method) => change({ method }),
  });
  const stop = slider({
    label: labels.stop,
    range: { min: 0, max: reach(), step },
    onInput: (value) => change({ stop: value }),
  });
  const chart = svg("svg", { class: "rl-chart", role: "img" });
  const cells = Object.fromEntries(["proxy", "gold", "peak"].map((name) => [name, html("dd")]));
  const lines = Object.entries(cells).map(([name, cell]) =>
    html("div", {}, html("dt", {}, labels[`read_${name}`]), cell),
  );
  const sentence = html("p", { class: "rl-verdict", role: "status" });
  const table = tableOnDemand({
    summary: labels.show_data,
    name: labels.table_name,
    download: { text: labels.download_csv, file: "over-optimisation.csv" },
    columns: [labels.column_seed, labels.column_at, labels.axis_root, labels.m_proxy, labels.m_gold],
    rows: () =>
      places(true).map((point) => [
        String(point.seed),
        String(point.at),
        number(Math.sqrt(Math.max(point.kl, 0)), 2),
        ...SCORES.map((name) => number(point[name], 2)),
      ]),
  });
  root.replaceChildren(
    models.row,
    methods.row,
    html("div", { class: "rl-sliders" }, stop.row),
    chart,
    html("div", { class: "rl-area-sentence" }, sentence),
    html("dl", { class: "rl-readout" }, ...lines),
    html("p", { class: "rl-small" }, labels.note),
    table.details,
  );

  let width = chart.clientWidth;
  let scale = null;
  const draw = (fits, far) => {
    if (width === 0) return; // not in sight: watchWidth tells when it is
    scale = drawGains({ chart, width, far, state, fits, pointsOf, labels, number, id });
  };

  const show = (changes) => {
    state = { ...state, ...changes };
    const far = reach();
    state.stop = Math.min(state.stop, far);
    const fits = Object.fromEntries(
      SCORES.map((name) => [name, fitForm(pointsOf(name, true), state.method)]),
    );
    const gains = Object.fromEntries(
      SCORES.map((name) => [name, fits[name] && gainAt(fits[name], state.method, state.stop)]),
    );
    const peak = fits.gold && peakOf(fits.gold, state.method);
    const isPeak = peak !== null && peak >= step && peak <= far; // nearer is no rise
    const said = {
      model: names[ids.indexOf(state.model)],
      stop: number(state.stop, 2),
      kl: number(state.stop ** 2, 1),
      peak: isPeak ? number(peak, 2) : labels.none,
      peak_kl: isPeak ? number(peak ** 2, 1) : labels.none,
      ...Object.fromEntries(
        SCORES.map((name) => [name, gains[name] === null ? labels.none : signed(gains[name])]),
      ),
    };
    models.show(state.model);
    methods.show(state.method);
    stop.setMax(far);
    stop.show(state.stop, said.stop, fill(labels.stop_spoken, said));
    for (const name of SCORES) cells[name].textContent = said[name];
    cells.peak.textContent = isPeak ? fill(labels.peak_at, said) : labels.no_peak;
    let finding = "finding_rising";
    if (fits.gold === null || fits.proxy === null) finding = "finding_none";
    else if (isPeak && state.stop > peak) finding = gains.gold < 0 ? "finding_lost" : "finding_late";
    else if (isPeak) finding = "finding_early";
    else if (gains.gold < 0) finding = "finding_falling";
    const text = fill(labels[finding], said);
    if (sentence.textContent !== text) sentence.textContent = text;
    chart.setAttribute("aria-label", fill(labels.chart, said));
    draw(fits, far);
    table.update();
  };
  const follow = (event) => {
    const raw = scale.value(event.clientX - chart.getBoundingClientRect().left);
    const snapped = Math.round(Math.min(Math.max(raw, 0), reach()) / step) * step;
    change({ stop: Number(snapped.toFixed(6)) });
  };
  chart.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || scale === null) return;
    chart.setPointerCapture(event.pointerId);
    follow(event);
  });
  chart.addEventListener("pointermove", (event) => {
    if (chart.hasPointerCapture(event.pointerId)) follow(event);
  });
  const unwatch = watchWidth(chart, (changed) => {
    width = changed;
    show({});
  });
  show({});
  return { update: show, remove: unwatch };
}

/** Two panels over √KL: proxy above, gold below, one line where the reader stops. */
function drawGains({ chart, width, far, state, fits, pointsOf, labels, number, id }) {
  const panelHeight = 130;
  const panels = SCORES.map((name, i) => {
    const top = 22 + i * (panelHeight + 28);
    const box = { left: LEFT, right: width - RIGHT, top, bottom: top + panelHeight };
    const all = [...pointsOf(name, true), ...pointsOf(name, false)];
    const gains = all.filter(([d]) => d <= far).map(([, gain]) => gain);
    const range = roomy([Math.min(0, ...gains), Math.max(0, ...gains)]);
    const x = linear([0, far], [box.left, box.right]);
    return { name, box, range, x, y: linear(range, [box.bottom, box.top]), clip: `${id}-${name}` };
  });
  const under = () =>
    panels.flatMap(({ name, box, range, x, y, clip: inside }) => [
      ...frame({
        box,
        x,
        y,
        xTicks: evenTicks([0, far], Math.floor(width / 80), number),
        yTicks: evenTicks(range, 5, number),
        title: labels[`m_${name}`],
        xLabel: name === SCORES.at(-1) ? labels.axis_root : undefined,
      }),
      svg("path", { class: "rl-limit", d: `M${box.left} ${pixel(y.place(0))}H${box.right}` }),
      clip(inside, box),
    ]);
  const over = () =>
    panels.map(({ name, box, x, y, clip: inside }) => {
      const shown = svg("g", { "clip-path": `url(#${inside})` });
      const at = ([d, gain]) => [x.place(d), y.place(gain)];
      for (const point of pointsOf(name, false)) shown.append(dot("rl-faint-dot", ...at(point), 2.5));
      for (const point of pointsOf(name, true)) shown.append(dot("rl-next-gamma", ...at(point), 3.5));
      const fit = fits[name];
      if (fit !== null) {
        const along = Array.from({ length: CURVE + 1 }, (_, i) => (i / CURVE) * far);
        const gains = along.map((d) => at([d, gainAt(fit, state.method, d)]));
        shown.append(line("rl-turn rl-turn-beta", gains));
      }
      const left = pixel(x.place(state.stop));
      shown.append(svg("path", { class: "rl-drop", d: `M${left} ${box.top}V${box.bottom}` }));
      if (fit !== null) {
        shown.append(dot("rl-point", ...at([state.stop, gainAt(fit, state.method, state.stop)]), 6));
      }
      return shown;
    });
  layers(chart, `gains ${width} ${state.model} ${state.method}`, width, panels.at(-1).box.bottom + 42, under, over);
  return panels[0].x;
}
