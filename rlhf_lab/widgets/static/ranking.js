/**
 * Ranking widget: the reader orders K answers to each prompt, as the labelers did, and is then told
 * how often they agree. Rankings stay in this browser until the reader exports them.
 *
 * Numbers are those of `rlhf_lab.widgets.ranking`: a pair counts when both people order it.
 */

import { button, fill, html, linear, numberFormat, svg, tableOnDemand, watchWidth } from "./kit.js";

/**
 * @typedef {object} Ranking of one prompt
 * @property {number[]} order indices of its completions, best first
 * @property {boolean[]} tied for each place of `order`: as good as the one above
 * @property {boolean} done the reader has finished it
 *
 * @typedef {object} State
 * @property {number} prompt index of the one in sight
 * @property {(Ranking | null)[]} rankings one for each prompt
 *
 * @typedef {object} Prompt
 * @property {string} text
 * @property {string} kind
 * @property {string[]} completions
 * @property {number[][]} ranks of each labeler; lower is better
 */

const READER = "reader";
const FILE = "rankings.jsonl";
const DRAG_FROM = 4; // pixels: less is a click
const SLIDE = 160; // milliseconds
const DOT = 3.5; // radius

/**
 * @param {Ranking} ranking
 * @returns {number[]} the rank of each completion, from 0; ties share one and leave no gap
 */
export function ranksOf({ order, tied }) {
  const ranks = new Array(order.length);
  let rank = -1;
  order.forEach((answer, i) => {
    if (!tied[i]) rank += 1;
    ranks[answer] = rank;
  });
  return ranks;
}

/**
 * @param {boolean[]} tied
 * @returns {number[]} the number at each place, from 1, as in sports: 1, 1, 3
 */
function placesOf(tied) {
  let place = 1;
  return tied.map((isTied, i) => {
    if (!isTied) place = i + 1;
    return place;
  });
}

/**
 * Takes the answer at one place to another. Answers of equal rank stay equal without it, and
 * between two equal ones it is equal to them.
 *
 * @param {Ranking} ranking
 * @param {number} from
 * @param {number} to
 * @returns {Ranking}
 */
export function moved(ranking, from, to) {
  if (from === to) return ranking;
  const rows = ranking.order.map((answer, i) => ({ answer, isTied: ranking.tied[i] }));
  const [row] = rows.splice(from, 1);
  if (!row.isTied && from < rows.length) rows[from].isTied = false; // it was the first of its equals
  rows.splice(to, 0, { answer: row.answer, isTied: to < rows.length && rows[to].isTied });
  return {
    order: rows.map(({ answer }) => answer),
    tied: rows.map(({ isTied }) => isTied),
    done: false,
  };
}

/**
 * @param {number[][]} one ranks of one person, a list for each prompt
 * @param {number[][]} two of another
 * @returns {number | null} share of the pairs that both order which they order alike
 */
function shareAlike(one, two) {
  let [alike, pairs] = [0, 0];
  one.forEach((mine, prompt) => {
    const theirs = two[prompt];
    for (let i = 0; i < mine.length; i += 1) {
      for (let j = i + 1; j < mine.length; j += 1) {
        const product = (mine[i] - mine[j]) * (theirs[i] - theirs[j]);
        if (product !== 0) pairs += 1;
        if (product > 0) alike += 1;
      }
    }
  });
  return pairs === 0 ? null : alike / pairs;
}

/** Mean of the numbers that are there, or null. */
function mean(numbers) {
  const known = numbers.filter((number) => number !== null);
  return known.length === 0 ? null : known.reduce((a, b) => a + b, 0) / known.length;
}

/**
 * @param {Prompt[]} prompts
 * @param {Ranking[]} rankings of the same prompts
 * @returns {{ reader: (number | null)[], others: (number | null)[] }} for each labeler the share of
 *   pairs that the reader orders alike, and the labeler's own mean share with the other labelers
 */
export function compare(prompts, rankings) {
  const mine = rankings.map(ranksOf);
  const people = prompts[0].ranks.map((_, person) => prompts.map(({ ranks }) => ranks[person]));
  const others = people.map((one, i) =>
    mean(people.map((two, j) => (i === j ? null : shareAlike(one, two)))),
  );
  return { reader: people.map((one) => shareAlike(mine, one)), others };
}

/**
 * @param {Prompt[]} prompts
 * @param {State["rankings"]} rankings
 * @returns {string} JSON lines for `rlhf_lab.data.read_jsonl(path, Ranking)`
 */
export function jsonLines(prompts, rankings) {
  const lines = prompts.flatMap(({ text, kind, completions }, i) => {
    if (!rankings[i]?.done) return [];
    const ranks = ranksOf(rankings[i]);
    return [`${JSON.stringify({ prompt: text, completions, ranks, kind, labeler: READER })}\n`];
  });
  return lines.join("");
}

/** Whether something read from outside is a ranking of `count` answers. */
function isRanking(value, count) {
  if (!Array.isArray(value?.order) || !Array.isArray(value.tied)) return false;
  const sorted = [...value.order].sort((a, b) => a - b);
  return (
    sorted.length === count &&
    sorted.every((answer, i) => answer === i) &&
    value.tied.length === count &&
    value.tied.every((tied, i) => typeof tied === "boolean" && !(i === 0 && tied)) &&
    typeof value.done === "boolean"
  );
}

/** What the browser keeps under one name; a browser that keeps nothing is no error. */
function memory(name) {
  const attempt = (action) => {
    try {
      return action(window.localStorage);
    } catch {
      return undefined; // switched off, full, or forbidden in this frame
    }
  };
  return {
    read: () => attempt((storage) => JSON.parse(storage.getItem(name))) ?? null,
    /** @returns {boolean} whether it is kept */
    write: (value) =>
      attempt((storage) => {
        storage.setItem(name, JSON.stringify(value));
        return true;
      }) ?? false,
    forget: () => attempt((storage) => storage.removeItem(name)),
  };
}

/**
 * Draws the widget into `root`, whose content it replaces.
 *
 * @param {object} host
 * @param {HTMLElement} host.root
 * @param {{ id: string, labelers: string[], prompts: Prompt[], state: State }} host.data
 * @param {Record<string, string>} host.labels
 * @param {string} host.language BCP 47 tag of the labels
 * @param {(state: State) => void} host.onChange called after each change that the reader makes
 * @returns {{ update: (changes: Partial<State>) => void, remove: () => void }} `update` shows a
 *   change that comes from elsewhere; `remove` stops listening
 */
export function render({ root, data, labels, language, onChange }) {
  const { prompts, labelers } = data;
  const number = numberFormat(language);
  const percent = (share) => (share === null ? "–" : `${number(100 * share, 0)}\u00a0%`);
  const kept = memory(`rlhf-lab:${data.id}`);
  let state = data.state;
  let forgotten = null; // the rankings before they were cleared

  const fresh = (prompt) => {
    const order = prompts[prompt].completions.map((_, i) => i);
    return { order, tied: order.map(() => false), done: false };
  };
  const current = () => state.rankings[state.prompt] ?? fresh(state.prompt);
  const finished = () => prompts.flatMap((_, i) => (state.rankings[i]?.done ? [i] : []));

  const progress = html("p", { class: "rl-progress" });
  const back = button(labels.back, () => visit(state.prompt - 1));
  const forward = button(labels.forward, () => visit(state.prompt + 1));
  const question = html("p", { class: "rl-prompt" });
  const answers = answerList({ labels, onMove: (from, to) => move(from, to), onTie: (at) => tie(at) });
  const compareButton = button(labels.compare, () => finish(), { class: "rl-button rl-primary" });
  const nextButton = button(labels.next, () => visit(nextOpen()), { class: "rl-button rl-primary" });
  const result = html("section", { class: "rl-agreement", "aria-label": labels.agreement_name });
  const sentences = html("p", { class: "rl-sentence" });
  const strips = svg("svg", { class: "rl-strips", role: "img" });
  const rule = html("p", { class: "rl-small" }, labels.rule);
  const table = tableOnDemand({
    summary: labels.show_data,
    name: labels.table_name,
    download: { text: labels.download_csv, file: "ranking.csv" },
    columns: [labels.labeler, labels.with_you_here, labels.with_you, labels.with_others],
    rows: () => tableRows(),
    words: [0],
  });
  result.append(sentences, strips, rule, table.details);
  const download = button(labels.download, () => save());
  const clear = button(labels.clear, () => forget());
  const undo = button(labels.undo, () => recall());
  const keeping = html("p", { class: "rl-small" });
  // Said by screen readers, and seen by nobody: what is seen says it already.
  const spoken = html("p", { class: "rl-spoken", role: "status" });

  root.replaceChildren(
    html("div", { class: "rl-bar" }, progress, back, forward),
    question,
    html("p", { class: "rl-small" }, labels.hint),
    answers.list,
    html("div", { class: "rl-bar rl-bar-start" }, compareButton, nextButton),
    result,
    html("div", { class: "rl-bar rl-bar-start rl-keep" }, download, clear, undo),
    keeping,
    spoken,
  );

  let width = strips.clientWidth;
  const unwatch = watchWidth(strips, (changed) => {
    width = changed;
    if (!result.hidden) drawComparison();
  });

  /** A change that the reader makes: kept, told, drawn. */
  const change = (changes) => {
    state = { ...state, ...changes };
    const isKept = kept.write(state);
    keeping.textContent = isKept ? labels.kept : labels.not_kept;
    draw();
    onChange(state);
  };
  const put = (ranking) =>
    change({ rankings: state.rankings.map((old, i) => (i === state.prompt ? ranking : old)) });

  const move = (from, to) => {
    if (to < 0 || to >= current().order.length) return;
    const after = moved(current(), from, to);
    if (from !== to) put(after);
    sayPlace(after, to);
  };
  const tie = (at) => {
    const { order, tied } = current();
    if (at === 0) return;
    put({ order, tied: tied.map((was, i) => (i === at ? !was : was)), done: false });
    sayPlace(current(), at);
  };
  const sayPlace = ({ order, tied }, at) => {
    const values = {
      answer: letter(order[at]),
      place: String(placesOf(tied)[at]),
      count: String(order.length),
      other: at > 0 ? letter(order[at - 1]) : "",
    };
    spoken.textContent = fill(tied[at] ? labels.moved_tied : labels.moved, values);
  };

  /** The next prompt that waits for the reader, or -1. */
  const nextOpen = () => {
    const ahead = prompts.map((_, i) => (state.prompt + 1 + i) % prompts.length);
    return ahead.find((i) => !state.rankings[i]?.done) ?? -1;
  };
  const visit = (prompt) => {
    change({ prompt });
    spoken.textContent = `${progress.textContent}. ${prompts[prompt].text}`;
  };
  const finish = () => {
    put({ ...current(), done: true });
    spoken.textContent = sentences.textContent;
    (nextButton.hidden ? download : nextButton).focus();
  };
  const save = () => {
    const lines = new Blob([jsonLines(prompts, state.rankings)], { type: "application/jsonl" });
    const link = html("a", { href: URL.createObjectURL(lines), download: FILE });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href));
  };
  const forget = () => {
    forgotten = state;
    change({ prompt: 0, rankings: prompts.map(() => null) });
    kept.forget();
    undo.focus();
    spoken.textContent = labels.cleared;
  };
  const recall = () => {
    const before = forgotten;
    forgotten = null;
    change(before);
    clear.focus();
  };

  const comparison = () => {
    const done = finished();
    return {
      here: compare([prompts[state.prompt]], [current()]),
      all: compare(done.map((i) => prompts[i]), done.map((i) => state.rankings[i])),
    };
  };
  const tableRows = () => {
    if (result.hidden) return [];
    const { here, all } = comparison();
    const shares = (i) => [here.reader[i], all.reader[i], all.others[i]].map(percent);
    return labelers.map((name, i) => [name, ...shares(i)]);
  };

  const drawComparison = () => {
    const { here, all } = comparison();
    const done = finished().length;
    const shares = {
      mine: percent(mean(here.reader)),
      theirs: percent(mean(here.others)),
      count: String(done),
      mine_all: percent(mean(all.reader)),
      theirs_all: percent(mean(all.others)),
    };
    const parts = [mean(here.reader) === null ? labels.no_pair : labels.agreement];
    if (done > 1) parts.push(labels.agreement_all);
    sentences.textContent = fill(parts.join(" "), shares);
    strips.setAttribute("aria-label", fill(labels.strips, shares));
    drawStrips(strips, width, number, [
      { label: fill(labels.strip_reader, shares), shares: all.reader, name: "reader" },
      { label: fill(labels.strip_others, shares), shares: all.others, name: "others" },
    ]);
    table.update();
  };

  const draw = () => {
    const prompt = prompts[state.prompt];
    const ranking = current();
    const done = finished().length;
    progress.textContent = fill(labels.progress, {
      prompt: String(state.prompt + 1),
      count: String(prompts.length),
      done: String(done),
    });
    question.textContent = prompt.text.trim();
    answers.show(prompt, ranking);
    back.disabled = state.prompt === 0;
    forward.disabled = state.prompt === prompts.length - 1;
    compareButton.hidden = ranking.done;
    nextButton.hidden = !ranking.done || nextOpen() < 0;
    result.hidden = !ranking.done;
    if (ranking.done) drawComparison();
    download.disabled = done === 0;
    clear.hidden = state.rankings.every((old) => old === null);
    if (!clear.hidden) forgotten = null;
    undo.hidden = forgotten === null;
  };

  const show = (changes) => {
    state = { ...state, ...changes };
    draw();
  };
  // What a kernel says is newer than what the browser has kept.
  const before = kept.read();
  if (
    state.rankings.every((ranking) => ranking === null) &&
    Array.isArray(before?.rankings) &&
    Number.isInteger(before.prompt) &&
    before.prompt in prompts
  ) {
    const rankings = prompts.map(({ completions }, i) =>
      isRanking(before.rankings[i], completions.length) ? before.rankings[i] : null,
    );
    change({ prompt: before.prompt, rankings });
  } else {
    keeping.textContent = kept.write(state) ? labels.kept : labels.not_kept;
    draw();
  }
  return {
    update: show,
    remove: () => {
      unwatch();
      answers.remove();
    },
  };
}

/** The usual sign of something that can be dragged. */
function sixDots() {
  const centres = [2, 6].flatMap((cx) => [3, 7, 11].map((cy) => ({ cx, cy })));
  const dots = centres.map((centre) => svg("circle", { ...centre, r: 1.2 }));
  return svg("svg", { width: 8, height: 14, "aria-hidden": "true" }, ...dots);
}

/** A, B, C … : the name of an answer, which its place does not change. */
function letter(answer) {
  return String.fromCharCode(65 + answer);
}

/**
 * The answers, which the reader can drag, move by buttons, and move by keys.
 *
 * @param {object} options
 * @param {Record<string, string>} options.labels
 * @param {(from: number, to: number) => void} options.onMove
 * @param {(at: number) => void} options.onTie
 */
function answerList({ labels, onMove, onTie }) {
  const list = html("ol", { class: "rl-answers" });
  let rows = []; // by completion
  let order = []; // as shown
  let shown = null; // prompt
  let drag = null;

  const makeRow = (text, answer) => {
    const named = (label) => fill(label, { answer: letter(answer) });
    const at = () => order.indexOf(answer);
    const control = (sign, label, press) =>
      button(sign, press, { class: "rl-icon", "aria-label": named(label), title: named(label) });
    const place = html("span", { class: "rl-place" });
    const grip = html(
      "button",
      { type: "button", class: "rl-grip", "aria-label": named(labels.grip) },
      letter(answer),
      sixDots(),
    );
    const up = control("↑", labels.up, () => onMove(at(), at() - 1));
    const down = control("↓", labels.down, () => onMove(at(), at() + 1));
    const tie = control("=", labels.tie, () => onTie(at()));
    const item = html(
      "li",
      { class: "rl-answer" },
      html("span", { class: "rl-rank" }, place, grip),
      html("p", { class: "rl-text" }, text),
      html("span", { class: "rl-controls" }, up, down, tie),
    );
    item.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || drag) return;
      const from = at();
      const to = { ArrowUp: from - 1, ArrowDown: from + 1 }[event.key] ?? Number(event.key) - 1;
      if (event.key === "=") onTie(from);
      else if (/^(ArrowUp|ArrowDown|[1-9])$/.test(event.key)) onMove(from, to);
      else return;
      event.preventDefault();
    });
    return { item, place, up, down, tie };
  };

  /** Puts the rows in order; those that move slide, and the focus stays where it was. */
  const arrange = (next) => {
    const before = rows.map(({ item }) => item.offsetTop);
    const focused = list.contains(document.activeElement) ? document.activeElement : null;
    order = next;
    list.replaceChildren(...order.map((answer) => rows[answer].item));
    focused?.focus({ preventScroll: true });
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    rows.forEach(({ item }, answer) => {
      const by = before[answer] - item.offsetTop;
      if (by === 0 || drag?.item === item) return;
      const frames = [{ transform: `translateY(${by}px)` }, { transform: "none" }];
      item.animate(frames, { duration: SLIDE, easing: "ease-out" });
    });
  };

  const show = (prompt, { order: next, tied }) => {
    if (shown !== prompt) {
      shown = prompt;
      rows = prompt.completions.map(makeRow);
      order = next;
      list.replaceChildren(...order.map((answer) => rows[answer].item));
    } else if (next.some((answer, i) => answer !== order[i])) {
      arrange(next);
    }
    const places = placesOf(tied);
    order.forEach((answer, i) => {
      const { item, place, up, down, tie } = rows[answer];
      place.textContent = String(places[i]);
      item.classList.toggle("rl-tied", tied[i]);
      tie.setAttribute("aria-pressed", String(tied[i]));
      // Not `disabled`, which would take the focus away from who is moving an answer.
      up.setAttribute("aria-disabled", String(i === 0));
      tie.setAttribute("aria-disabled", String(i === 0));
      down.setAttribute("aria-disabled", String(i === order.length - 1));
    });
  };

  /** The place at which the dragged answer would fall: above the first whose middle is below. */
  const target = () => {
    const box = drag.item.getBoundingClientRect();
    const middle = box.top + box.height / 2 - list.getBoundingClientRect().top;
    const others = order.filter((answer) => rows[answer].item !== drag.item);
    const below = others.findIndex((answer) => {
      const { item } = rows[answer];
      return middle < item.offsetTop + item.offsetHeight / 2;
    });
    return below < 0 ? others.length : below;
  };
  const follow = (y) => {
    const top = () => list.getBoundingClientRect().top + drag.item.offsetTop;
    const place = () => {
      drag.item.style.transform = `translateY(${y - drag.grab - top()}px)`;
    };
    place();
    const to = target();
    if (to === order.indexOf(drag.answer)) return;
    const others = order.filter((answer) => answer !== drag.answer);
    arrange([...others.slice(0, to), drag.answer, ...others.slice(to)]);
    place();
    drag.item.scrollIntoView({ block: "nearest" });
  };
  const release = (isKept) => {
    if (!drag) return;
    const { item, answer, from, order: before } = drag;
    const to = order.indexOf(answer);
    item.classList.remove("rl-dragged");
    item.style.transform = "";
    drag = null;
    // The rows as they were: whoever is told of the move shows it.
    if (order.some((other, i) => other !== before[i])) {
      order = before;
      if (isKept) onMove(from, to);
      else arrange(before);
    }
  };

  list.addEventListener("pointerdown", (event) => {
    const item = event.target.closest(".rl-answer");
    const grip = event.target.closest(".rl-grip");
    // A finger scrolls the page, but for the grip; buttons are buttons.
    if (event.button !== 0 || !item || event.target.closest(".rl-controls")) return;
    if (event.pointerType !== "mouse" && !grip) return;
    const answer = rows.findIndex((row) => row.item === item);
    const grab = event.clientY - item.getBoundingClientRect().top;
    drag = { item, answer, grab, from: order.indexOf(answer), order, start: event.clientY, on: false };
    list.setPointerCapture(event.pointerId);
  });
  list.addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (!drag.on && Math.abs(event.clientY - drag.start) < DRAG_FROM) return;
    drag.on = true;
    drag.item.classList.add("rl-dragged");
    follow(event.clientY);
  });
  list.addEventListener("pointerup", () => release(true));
  list.addEventListener("pointercancel", () => release(false));
  const escape = (event) => event.key === "Escape" && release(false);
  document.addEventListener("keydown", escape);
  return { list, show, remove: () => document.removeEventListener("keydown", escape) };
}

/** Two rows of dots, one for each labeler, over the share of pairs from 0 to 1; bars: the means. */
function drawStrips(chart, width, number, rows) {
  const edge = { left: DOT + 1, right: DOT + 1 };
  const x = linear([0, 1], [edge.left, width - edge.right]);
  const parts = [];
  let top = 0;
  for (const { label, shares, name } of rows) {
    const stacks = new Map();
    const dots = shares.flatMap((share) => {
      if (share === null) return [];
      const left = Math.round(x.place(share) / (2 * DOT + 1));
      stacks.set(left, (stacks.get(left) ?? 0) + 1);
      return [[left * (2 * DOT + 1), stacks.get(left)]];
    });
    const highest = Math.max(1, ...stacks.values());
    const step = Math.min(2 * DOT + 1, 56 / highest);
    const base = top + 28 + Math.max(24, highest * step);
    parts.push(svg("text", { x: 0, y: top + 14 }, label));
    parts.push(svg("path", { class: "rl-grid", d: `M0 ${base}H${width}` }));
    for (const [left, height] of dots) {
      const place = { cx: left, cy: base - (height - 0.5) * step, r: DOT };
      parts.push(svg("circle", { class: `rl-dot rl-dot-${name}`, ...place }));
    }
    const middle = mean(shares);
    if (middle !== null) {
      const left = x.place(middle);
      parts.push(svg("path", { class: "rl-mean", d: `M${left} ${base + 4}V${top + 24}` }));
    }
    top = base + 12;
  }
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    const anchor = { 0: "start", 1: "end" }[tick] ?? "middle";
    const words = `${number(100 * tick, 0)}\u00a0%`;
    const place = tick === 0 ? 0 : tick === 1 ? width : x.place(tick);
    parts.push(svg("text", { x: place, y: top + 8, "text-anchor": anchor }, words));
  }
  chart.setAttribute("viewBox", `0 0 ${width} ${top + 14}`);
  chart.setAttribute("height", String(top + 14));
  chart.replaceChildren(...parts);
}
