/**
 * Token inspector: a rollout as PPO sees it, token by token, with every number that becomes a
 * gradient. Colour and curve show one quantity; the tables show all of one token.
 *
 * The numbers are those of `rlhf_lab.rollout.Rollout`; what is computed here is the log-ratio and
 * the two parts of the reward, ρ_t = −β·(log π − log π_ref) + [t = T]·r.
 */

import {
  fill,
  html,
  linear,
  numberFormat,
  radios,
  select,
  svg,
  tableOnDemand,
  ticks,
  watchWidth,
} from "./kit.js";

/**
 * @typedef {object} State
 * @property {number} rollout index
 * @property {number} token index in the response
 * @property {string} quantity that colours the tokens
 *
 * @typedef {{ text: string } | { bytes: string } | { special: string }} Token
 *
 * @typedef {object} Rollout as in `rlhf_lab.widgets.token_inspector`
 */

const QUANTITIES = [
  "reward",
  "penalty",
  "kl",
  "log_ratio",
  "value",
  "advantage",
  "return",
  "ratio",
];
const POLICIES = ["logprob", "ref_logprob", "log_ratio", "kl", "entropy", "ratio"];
const TRAINING = ["penalty", "score", "reward", "value", "advantage", "return"];
const DIGITS = 4;
const UNDER_TEXT = 45; // percent of colour at most: more would take the text's contrast
const ALONE = 100;
const STEPS = 40; // of the scale

/**
 * @param {Rollout} rollout
 * @param {number} beta
 * @returns {Record<string, number[]>} every quantity, by name; `ratio` only where it is known
 */
export function series(rollout, beta) {
  const { logprob, ref_logprob, kl, entropy, reward, value, advantage, ratio } = rollout;
  const last = logprob.length - 1;
  const log_ratio = logprob.map((logp, t) => logp - ref_logprob[t]);
  const found = { logprob, ref_logprob, log_ratio, kl, entropy, reward, value, advantage };
  found.return = rollout.return;
  found.penalty = log_ratio.map((d) => -beta * d);
  found.score = logprob.map((_, t) => (t === last ? rollout.score : 0));
  return ratio === undefined ? found : { ...found, ratio };
}

/** The value without a colour. */
function middleOf(quantity) {
  return quantity === "ratio" ? 1 : 0;
}

/**
 * A token as a reader sees it: spaces are dots, new lines are arrows, parts of characters are bytes.
 *
 * @param {Token} token
 * @returns {{ shown: string, isOdd: boolean, breaks: boolean }}
 */
export function piece(token) {
  if ("special" in token) return { shown: token.special, isOdd: true, breaks: false };
  if ("bytes" in token) return { shown: `⟨${token.bytes}⟩`, isOdd: true, breaks: false };
  const signs = { " ": "·", "\n": "↵", "\r": "␍", "\t": "⇥" };
  const shown = token.text.replace(/[ \n\r\t]/g, (space) => signs[space]);
  return { shown, isOdd: false, breaks: token.text.endsWith("\n") };
}

/** A token as it is spoken. */
function saidToken(token, labels) {
  if ("special" in token) return token.special;
  if ("bytes" in token) return fill(labels.spoken_bytes, { bytes: token.bytes });
  const names = { " ": labels.spoken_space, "\n": labels.spoken_line, "\t": labels.spoken_tab };
  return token.text.replace(/[ \n\t]/g, (space) => ` ${names[space]} `).trim();
}

/**
 * Draws the inspector into `root`, whose content it replaces.
 *
 * @param {object} host
 * @param {HTMLElement} host.root
 * @param {{ beta: number, clip: number, whiten_rewards: boolean, rollouts: Rollout[], state: State }}
 *   host.data
 * @param {Record<string, string>} host.labels
 * @param {string} host.language BCP 47 tag of the labels
 * @param {(state: State) => void} host.onChange called after each change that the reader makes
 * @returns {{ update: (changes: Partial<State>) => void, remove: () => void }} `update` shows a
 *   change that comes from elsewhere; `remove` stops listening
 */
export function render({ root, data, labels, language, onChange }) {
  const { rollouts, beta, clip } = data;
  const number = numberFormat(language);
  const write = (value) => number(value, DIGITS);
  const all = rollouts.map((rollout) => series(rollout, beta));
  const quantities = QUANTITIES.filter((name) => all.every((found) => name in found));
  const ranges = Object.fromEntries(quantities.map((name) => [name, rangeOf(all, name)]));
  let state = data.state;
  let pointed = null; // a token under the pointer, in sight until the pointer leaves
  const seen = () => pointed ?? state.token;

  const choice = rolloutChoice(rollouts, labels, number, (rollout) => change({ rollout, token: 0 }));
  const colours = quantityChoice(quantities, labels, (quantity) => change({ quantity }));
  const prompt = html("p", { class: "rl-prompt" });
  const strip = tokenStrip({
    name: labels.response,
    onPoint: (token) => point(token),
    onChoose: (token) => change({ token }),
  });
  const scale = html("div", { class: "rl-scale", "aria-hidden": "true" });
  const chosen = html("p", { class: "rl-chosen" });
  const formula = html("p", { class: "rl-formula" });
  const policies = numberTable(labels.policies, POLICIES.filter((name) => name in all[0]), labels);
  const training = numberTable(labels.training, TRAINING, labels);
  const cut = html("p", { class: "rl-small" }, labels.cut_off);
  const whitened = html("p", { class: "rl-small" }, labels.whitened);
  whitened.hidden = !data.whiten_rewards;
  const chart = svg("svg", { class: "rl-chart", role: "img" });
  const named = [...POLICIES, ...TRAINING].filter((name) => name in all[0]);
  const table = tableOnDemand({
    summary: labels.show_data,
    name: labels.table_name,
    download: { text: labels.download_csv, file: "token-inspector.csv" },
    columns: [
      labels.axis_position,
      labels.column_token,
      ...named.map((name) => withIndices(labels[`number_${name}`])),
    ],
    rows: () =>
      rollouts[state.rollout].tokens.map((token, t) => [
        String(t + 1),
        piece(token).shown,
        ...named.map((name) => write(all[state.rollout][name][t])),
      ]),
    words: [1],
  });
  root.replaceChildren(
    choice.row,
    html("p", { class: "rl-heading" }, labels.prompt),
    prompt,
    colours.row,
    html("p", { class: "rl-heading" }, labels.response),
    strip.list,
    scale,
    html("p", { class: "rl-small" }, labels.hint),
    chart,
    chosen,
    formula,
    html("div", { class: "rl-pair" }, training.table, policies.table),
    cut,
    whitened,
    table.details,
  );

  let plot = null;
  let width = chart.clientWidth;
  const unwatch = watchWidth(chart, (changed) => {
    width = changed;
    drawPlot();
  });

  const change = (changes) => {
    pointed = null;
    show(changes);
    onChange(state);
  };
  const point = (token) => {
    if (token === pointed) return;
    pointed = token;
    showToken();
  };

  const drawPlot = () => {
    const values = all[state.rollout][state.quantity];
    const limits = state.quantity === "ratio" ? [1 - clip, 1 + clip] : [];
    const axes = { x: labels.axis_position, y: labels[`${state.quantity}_axis`] };
    const range = ranges[state.quantity];
    plot = drawChart(chart, width, { values, range, limits, axes, number, chosen: seen() });
  };

  /** What depends on the token in sight. */
  const showToken = () => {
    const rollout = rollouts[state.rollout];
    const found = all[state.rollout];
    const t = seen();
    strip.choose(t, state.token);
    chosen.textContent = fill(labels.chosen, {
      position: String(t + 1),
      tokens: String(rollout.tokens.length),
      token: piece(rollout.tokens[t]).shown,
    });
    formula.replaceChildren(...formulaOf(found, t, beta, write));
    for (const { show: place } of [policies, training]) place((name) => write(found[name][t]));
    drawPlot();
    chart.setAttribute("aria-label", chartText(found[state.quantity], t));
  };
  const chartText = (values, t) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return fill(labels.chart, {
      quantity: labels[state.quantity],
      tokens: String(values.length),
      low: write(low),
      at_low: String(values.indexOf(low) + 1),
      high: write(high),
      at_high: String(values.indexOf(high) + 1),
      position: String(t + 1),
      value: write(values[t]),
    });
  };

  const show = (changes) => {
    const before = state;
    state = { ...state, ...changes };
    const { tokens } = rollouts[state.rollout];
    const isNew = strip.isEmpty() || before.rollout !== state.rollout;
    if (isNew || before.quantity !== state.quantity) {
      const rollout = rollouts[state.rollout];
      choice.show(state.rollout);
      colours.show(state.quantity);
      prompt.textContent = rollout.prompt.trim();
      cut.hidden = rollout.stopped;
      if (isNew) strip.fill(tokens);
      const values = all[state.rollout][state.quantity];
      const range = ranges[state.quantity];
      strip.tint((node, t) => tint(node, values[t], range));
      strip.name((t) =>
        fill(labels.token_spoken, {
          position: String(t + 1),
          token: saidToken(tokens[t], labels),
          quantity: labels[state.quantity],
          value: write(values[t]),
        }),
      );
      drawScale(scale, range, (value) => number(value, 2));
      table.update();
    }
    showToken();
  };

  const nearest = (event) => {
    const raw = plot.value(event.clientX - chart.getBoundingClientRect().left);
    const count = rollouts[state.rollout].tokens.length;
    return Math.min(Math.max(Math.round(raw), 1), count) - 1;
  };
  chart.addEventListener("pointermove", (event) => point(nearest(event)));
  chart.addEventListener("pointerleave", () => point(null));
  chart.addEventListener("click", (event) => change({ token: nearest(event) }));

  show({});
  return { update: show, remove: unwatch };
}

/**
 * Lowest and highest value of a quantity over all rollouts, the middle among them, and how far the
 * colours reach: to both sides alike, so that equal strengths are equal distances.
 */
function rangeOf(all, quantity) {
  const middle = middleOf(quantity);
  const values = all.flatMap((found) => found[quantity]);
  const low = Math.min(middle, ...values);
  const high = Math.max(middle, ...values);
  return { middle, low, high, reach: Math.max(middle - low, high - middle) || 1 };
}

/** Colours a node; the strength grows as a root, or the score alone would be seen. */
function tint(node, value, { middle, reach }, strongest = UNDER_TEXT) {
  const share = Math.sqrt(Math.min(Math.abs(value - middle) / reach, 1));
  node.classList.toggle("rl-above", value >= middle);
  node.classList.toggle("rl-below", value < middle);
  node.style.setProperty("--rl-share", `${(strongest * share).toFixed(1)}%`);
}

/** The colours from the lowest to the highest value. */
function drawScale(scale, range, write) {
  const { low, high } = range;
  const bars = Array.from({ length: STEPS }, (_, i) => {
    const bar = svg("rect", { x: i, y: 0, width: 1.02, height: 1 });
    tint(bar, low + ((i + 0.5) / STEPS) * (high - low), range);
    return bar;
  });
  const box = { viewBox: `0 0 ${STEPS} 1`, preserveAspectRatio: "none", width: 160, height: 12 };
  const ends = [low, high].map((value) => html("span", {}, write(value)));
  scale.replaceChildren(ends[0], svg("svg", box, ...bars), ends[1]);
}

/** A native choice between the rollouts. */
function rolloutChoice(rollouts, labels, number, onInput) {
  const texts = rollouts.map(({ prompt, score }, i) =>
    fill(labels.rollout_option, {
      number: String(i + 1),
      prompt: prompt.trim(),
      score: number(score, 2),
    }),
  );
  return select({ label: labels.choose_rollout, texts, onInput });
}

/** Native radio buttons, one for each quantity. */
function quantityChoice(quantities, labels, onInput) {
  const texts = quantities.map((name) => labels[name]);
  return radios({ legend: labels.choose_quantity, values: quantities, texts, onInput });
}

/**
 * The tokens as a list box: one of them is reached by the tabulator, the others by arrow keys.
 *
 * @param {object} options
 * @param {string} options.name
 * @param {(token: number | null) => void} options.onPoint the pointer is on a token, or on none
 * @param {(token: number) => void} options.onChoose
 */
function tokenStrip({ name, onPoint, onChoose }) {
  const list = html("div", { class: "rl-tokens", role: "listbox", "aria-label": name });
  list.setAttribute("aria-orientation", "horizontal");
  let nodes = [];
  const indexOf = (target) => nodes.indexOf(target.closest?.(".rl-token"));
  const choose = (token) => {
    nodes[token].focus();
    onChoose(token);
  };

  /** The token of the next line, up or down, that stands nearest below or above. */
  const inLine = (from, direction) => {
    const box = nodes[from].getBoundingClientRect();
    const lineOf = (other) => other.top + other.height / 2;
    const gap = (other) => direction * (lineOf(other) - lineOf(box));
    const boxes = nodes.map((node) => node.getBoundingClientRect());
    const away = boxes.filter((other) => gap(other) > box.height / 2).map(gap);
    if (away.length === 0) return from;
    const next = Math.min(...away);
    const middle = (other) => Math.abs(other.left + other.width / 2 - box.left - box.width / 2);
    let best = -1;
    boxes.forEach((other, i) => {
      if (Math.abs(gap(other) - next) > box.height / 2) return;
      if (best < 0 || middle(other) < middle(boxes[best])) best = i;
    });
    return best;
  };
  list.addEventListener("keydown", (event) => {
    const from = indexOf(event.target);
    if (from < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = nodes.length - 1;
    const to = {
      ArrowLeft: () => Math.max(from - 1, 0),
      ArrowRight: () => Math.min(from + 1, last),
      ArrowUp: () => inLine(from, -1),
      ArrowDown: () => inLine(from, 1),
      Home: () => 0,
      End: () => last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(to());
  });
  list.addEventListener("pointerover", (event) => {
    const at = indexOf(event.target);
    if (at >= 0 && event.pointerType === "mouse") onPoint(at);
  });
  list.addEventListener("pointerleave", () => onPoint(null));
  list.addEventListener("click", (event) => {
    const at = indexOf(event.target);
    if (at >= 0) choose(at);
  });

  return {
    list,
    isEmpty: () => nodes.length === 0,
    /** @param {Token[]} tokens */
    fill(tokens) {
      nodes = tokens.map((token) => {
        const { shown, isOdd } = piece(token);
        return html("span", { class: isOdd ? "rl-token rl-odd" : "rl-token", role: "option" }, shown);
      });
      const parts = nodes.flatMap((node, t) => (piece(tokens[t]).breaks ? [node, html("br")] : [node]));
      list.replaceChildren(...parts);
    },
    /** @param {(node: HTMLElement, token: number) => void} paint */
    tint(paint) {
      nodes.forEach(paint);
    },
    /** @param {(token: number) => string} nameOf */
    name(nameOf) {
      nodes.forEach((node, t) => node.setAttribute("aria-label", nameOf(t)));
    },
    /** Marks the token in sight; `kept` is where the tabulator goes. */
    choose(token, kept) {
      nodes.forEach((node, t) => {
        node.setAttribute("aria-selected", String(t === token));
        node.setAttribute("tabindex", t === kept ? "0" : "-1");
      });
    },
  };
}

/** A name such as π_ref, the index set below the line. */
function withIndices(text) {
  const parts = text.split(/_(\p{L}+)/u);
  return html("span", {}, ...parts.map((part, i) => (i % 2 === 1 ? html("sub", {}, part) : part)));
}

/** A table of name and number; `show` fills it. */
function numberTable(caption, names, labels) {
  const cells = new Map(names.map((name) => [name, html("td")]));
  const rows = names.map((name) =>
    html("tr", {}, html("th", { scope: "row" }, withIndices(labels[`number_${name}`])), cells.get(name)),
  );
  const table = html("table", {}, html("caption", {}, caption), html("tbody", {}, ...rows));
  return {
    table,
    show(numberOf) {
      for (const [name, cell] of cells) cell.textContent = numberOf(name);
    },
  };
}

/** ρ_t = −β (log π − log π_ref) + [t = T] r, once in letters and once in numbers. */
function formulaOf(found, t, beta, write) {
  const last = found.logprob.length - 1;
  const letter = (name, index) => [html("i", {}, name), html("sub", {}, html("i", {}, index))];
  const bracket = (value) => (value < 0 ? `(${write(value)})` : write(value));
  const isLast = t === last ? 1 : 0;
  const numbers =
    `= −${String(beta)}\u00a0·\u00a0(${write(found.logprob[t])} − ${bracket(found.ref_logprob[t])})` +
    ` + ${isLast}\u00a0·\u00a0${bracket(found.score[last])}` +
    ` = ${write(found.penalty[t] + found.score[t])}`;
  return [
    ...letter("ρ", "t"),
    " = −",
    html("i", {}, "β"),
    " (log ",
    html("i", {}, "π"),
    " − log ",
    html("i", {}, "π"),
    html("sub", {}, "ref"),
    ") + [",
    html("i", {}, "t"),
    " = ",
    html("i", {}, "T"),
    "] ",
    html("i", {}, "r"),
    html("br"),
    numbers,
  ];
}

/** Redraws the chart, `width` pixels wide. Returns the horizontal scale, in positions from 1. */
function drawChart(chart, width, { values, range, limits, axes, number, chosen }) {
  const height = Math.round(Math.min(Math.max(0.3 * width, 190), 230));
  const edge = { left: 62, right: 14, top: 12, bottom: 42 };
  const bottom = height - edge.bottom;
  const right = width - edge.right;
  const from = Math.min(range.middle, ...values);
  const to = Math.max(range.middle, ...values);
  const gap = 0.06 * (to - from) || 0.5;
  const x = linear([0.5, values.length + 0.5], [edge.left, right]);
  const y = linear([from - gap, to + gap], [bottom, edge.top]);
  const text = (left, top, words, anchor = "middle") =>
    svg("text", { x: left, y: top, "text-anchor": anchor }, words);

  const parts = [];
  const across = ticks(from - gap, to + gap, 4);
  const along = ticks(1, values.length, Math.max(2, Math.floor(width / 90)));
  let grid = "";
  for (const tick of across.at) grid += `M${edge.left} ${y.place(tick)}H${right}`;
  parts.push(svg("path", { class: "rl-grid", d: grid }));
  for (const tick of across.at) {
    parts.push(text(edge.left - 8, y.place(tick) + 4, number(tick, across.digits), "end"));
  }
  for (const tick of along.at.filter(Number.isInteger)) {
    parts.push(text(x.place(tick), bottom + 17, String(tick)));
  }
  parts.push(text((edge.left + right) / 2, height - 6, axes.x));
  const upright = { transform: `rotate(-90 14 ${(edge.top + bottom) / 2})` };
  parts.push(svg("g", upright, text(14, (edge.top + bottom) / 2, axes.y)));
  parts.push(svg("path", { class: "rl-drop", d: `M${edge.left} ${y.place(range.middle)}H${right}` }));
  for (const limit of limits.filter((value) => value > from - gap && value < to + gap)) {
    parts.push(svg("path", { class: "rl-limit", d: `M${edge.left} ${y.place(limit)}H${right}` }));
  }
  const corners = values.map((value, t) => `${x.place(t + 1)} ${y.place(value)}`);
  parts.push(svg("path", { class: "rl-curve", d: `M${corners.join("L")}` }));
  const left = x.place(chosen + 1);
  parts.push(svg("path", { class: "rl-limit", d: `M${left} ${edge.top}V${bottom}` }));
  values.forEach((value, t) => {
    const kind = t === chosen ? "rl-bead rl-bead-chosen" : "rl-bead";
    const radius = t === chosen ? 6 : 3.5;
    const place = { cx: x.place(t + 1), cy: y.place(value), r: radius };
    // A tint lets the curve shine through: a bead needs a ground of its own.
    parts.push(svg("circle", { class: "rl-ground", ...place }));
    const bead = svg("circle", { class: kind, ...place });
    tint(bead, value, range, ALONE);
    parts.push(bead);
  });
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.setAttribute("height", String(height));
  chart.replaceChildren(...parts);
  return x;
}
