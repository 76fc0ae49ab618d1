/**
 * Over-optimisation explorer: what the reward model says and what the gold score says, against the
 * distance d = √KL that the policy has gone, with the forms that Gao, Schulman and Hilton (2023)
 * fitted: R(d) = d·(a − b·log d) for reinforcement learning, R(d) = d·(a − b·d) for best-of-n. They
 * write α and β; here β is the price of KL. A slider asks where a reader would stop.
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
import { stopSlider } from "./stops.js";
import { openSweep } from "./sweep-data.js";

/**
 * @typedef {object} State
 * @property {number} gamma whose runs are shown
 * @property {"rl" | "bon"} form
 * @property {number} stop √KL at which the reader would stop
 *
 * @typedef {{ a: number, b: number }} Fit
 */

const SCORES = ["rm_score", "gold"]; // proxy and gold
const FORMS = ["rl", "bon"];
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
  const sweep = openSweep(data, []);
  const id = uniqueId();
  const number = numberFormat(language);
  const weight = (value) => number(value, (String(value).split(".")[1] ?? "").length);
  const signed = (value) => (value > 0 ? "+" : "") + number(value, 2);
  const step = data.reach.step;
  const far = data.reach.max;

  /** [√KL, gain since the SFT policy of its seed] of every run of a γ. */
  const started = new Map(data.sft.map((entry) => [entry.seed, entry]));
  const place = Object.fromEntries(SCORES.map((name) => [name, data.values.indexOf(name)]));
  const pointsOf = (name, isChosen) =>
    data.runs
      .filter((run) => isChosen === (run.gamma === state.gamma) && started.has(run.seed))
      .map((run) => [
        Math.sqrt(Math.max(sweep.valueOf(run, "kl"), 0)),
        run.values[place[name]] - started.get(run.seed).values[place[name]],
      ]);

  const change = (changes) => {
    show(changes);
    onChange(state);
  };
  const gamma = stopSlider({
    label: labels.gamma,
    className: "rl-slider-gamma",
    write: weight,
    onInput: (value) => change({ gamma: value }),
  });
  const stop = slider({
    label: labels.stop,
    range: { min: 0, max: far, step },
    onInput: (value) => change({ stop: value }),
  });
  const forms = radios({
    legend: labels.form,
    values: FORMS,
    texts: FORMS.map((name) => labels[`form_${name}`]),
    onInput: (form) => change({ form }),
  });
  const chart = svg("svg", { class: "rl-chart", role: "img" });
  const cells = Object.fromEntries(
    ["rm_score", "gold", "peak"].map((name) => [name, html("dd")]),
  );
  const lines = Object.entries(cells).map(([name, cell]) =>
    html("div", {}, html("dt", {}, labels[`read_${name}`]), cell),
  );
  const sentence = html("p", { class: "rl-verdict", role: "status" });
  const table = tableOnDemand({
    summary: labels.show_data,
    name: labels.table_name,
    columns: [labels.short_beta, labels.column_seed, labels.axis_root, labels.m_rm_score, labels.m_gold],
    rows: () =>
      data.runs
        .filter((run) => run.gamma === state.gamma)
        .map((run) => [
          weight(run.beta),
          String(run.seed),
          number(Math.sqrt(Math.max(sweep.valueOf(run, "kl"), 0)), 2),
          ...SCORES.map((name) => number(sweep.valueOf(run, name), 2)),
        ]),
  });
  root.replaceChildren(
    gamma.row,
    html("div", { class: "rl-sliders" }, stop.row),
    chart,
    html("div", { class: "rl-area-sentence" }, sentence),
    html("dl", { class: "rl-readout" }, ...lines),
    forms.row,
    html("p", { class: "rl-small" }, labels.note),
    table.details,
  );
  gamma.setStops(sweep.gammas);

  let width = chart.clientWidth;
  let scale = null;
  const draw = (fits) => {
    if (width === 0) return; // not in sight: watchWidth tells when it is
    scale = drawGains({ chart, width, far, state, fits, pointsOf, labels, number, id });
  };

  const show = (changes) => {
    state = { ...state, ...changes };
    const fits = Object.fromEntries(
      SCORES.map((name) => [name, fitForm(pointsOf(name, true), state.form)]),
    );
    const gains = Object.fromEntries(
      SCORES.map((name) => [name, fits[name] && gainAt(fits[name], state.form, state.stop)]),
    );
    const peak = fits.gold && peakOf(fits.gold, state.form);
    const isPeak = peak !== null && peak <= far;
    const said = {
      gamma: weight(state.gamma),
      stop: number(state.stop, 2),
      kl: number(state.stop ** 2, 1),
      peak: isPeak ? number(peak, 2) : labels.none,
      peak_kl: isPeak ? number(peak ** 2, 1) : labels.none,
      ...Object.fromEntries(
        SCORES.map((name) => [name, gains[name] === null ? labels.none : signed(gains[name])]),
      ),
    };
    gamma.show(state.gamma, fill(labels.gamma_spoken, said));
    stop.show(state.stop, said.stop, fill(labels.stop_spoken, said));
    forms.show(state.form);
    for (const name of SCORES) cells[name].textContent = said[name];
    cells.peak.textContent = isPeak ? fill(labels.peak_at, said) : labels.no_peak;
    let finding = "finding_rising";
    if (fits.gold === null || fits.rm_score === null) finding = "finding_none";
    else if (isPeak && state.stop > peak) finding = gains.gold < 0 ? "finding_lost" : "finding_late";
    else if (isPeak) finding = "finding_early";
    const text = fill(labels[finding], said);
    if (sentence.textContent !== text) sentence.textContent = text;
    chart.setAttribute("aria-label", fill(labels.chart, said));
    draw(fits);
    table.update();
  };
  const follow = (event) => {
    const raw = scale.value(event.clientX - chart.getBoundingClientRect().left);
    const snapped = Math.round(Math.min(Math.max(raw, 0), far) / step) * step;
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
    const gains = [...pointsOf(name, true), ...pointsOf(name, false)].map(([, gain]) => gain);
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
        const gains = along.map((d) => at([d, gainAt(fit, state.form, d)]));
        shown.append(line("rl-turn rl-turn-beta", gains));
      }
      const left = pixel(x.place(state.stop));
      shown.append(svg("path", { class: "rl-drop", d: `M${left} ${box.top}V${box.bottom}` }));
      if (fit !== null) {
        shown.append(dot("rl-point", ...at([state.stop, gainAt(fit, state.form, state.stop)]), 6));
      }
      return shown;
    });
  layers(chart, `gains ${width}`, width, panels.at(-1).box.bottom + 42, under, over);
  return panels[0].x;
}
