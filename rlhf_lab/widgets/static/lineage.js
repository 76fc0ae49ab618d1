/**
 * Lineage timeline: models and API names as a list in the order of their dates, joined by lines of
 * descent. Every line and every sentence says how it is known; two filters thin them out.
 *
 * The data are those of `rlhf_lab.widgets.lineage`.
 */

import { button, fill, html, plainSwitch, radios, svg } from "./kit.js";

/**
 * @typedef {object} State
 * @property {string} idea one of the ideas, or "all"
 * @property {string} evidence one of the kinds of evidence, or "all"
 * @property {string} entry id of the open entry, or nothing
 *
 * @typedef {{ source: string, at: string, tag: string }} Ground
 * @typedef {object} Entry
 * @property {string} id
 * @property {string} name
 * @property {string} kind
 * @property {string[]} ideas the first one is its lane
 * @property {string} date in words, or nothing
 * @property {string} year or nothing
 * @property {({ name: string, text: string } & Ground)[]} facts
 * @property {({ text: string, kind: string } & Ground)[]} says
 * @property {({ id: string, of: string, kind: string } & Ground)[]} from
 */

const BOW = 9; // pixels by which a line steps aside for what stands between its ends

/**
 * What two filters leave. An entry of which a line starts is there even where nothing else is known
 * of it in that way: a line would not be drawn without its two ends.
 *
 * @param {Entry[]} entries
 * @param {{ idea: string, evidence: string }} filters
 * @returns {{ shown: Entry[], lines: object[], lost: Entry[] }} entries; lines of descent between
 *   them as {from, to, of, kind}; and those that have lost every line to another model's weights
 */
export function filtered(entries, { idea, evidence }) {
  const isKnown = ({ kind }) => evidence === "all" || kind === evidence;
  const ofIdea = entries.filter((entry) => idea === "all" || entry.ideas.includes(idea));
  const parents = new Set(ofIdea.flatMap(({ from }) => from.filter(isKnown).map(({ id }) => id)));
  const shown = ofIdea.filter(
    ({ id, says, from }) =>
      evidence === "all" || says.some(isKnown) || from.some(isKnown) || parents.has(id),
  );
  const ids = new Set(shown.map(({ id }) => id));
  const lines = shown.flatMap((entry) =>
    entry.from
      .filter((line) => isKnown(line) && ids.has(line.id))
      .map((line) => ({ from: line.id, to: entry.id, of: line.of, kind: line.kind })),
  );
  const ofWeights = (entry) => entry.from.filter(({ of }) => of === "weights");
  const lost = shown.filter(
    (entry) => ofWeights(entry).length > 0 && !ofWeights(entry).some(isKnown),
  );
  return { shown, lines, lost };
}

/**
 * Draws the timeline into `root`, whose content it replaces; a list that the page has brought stays
 * at hand, and is what is printed.
 *
 * @param {object} host
 * @param {HTMLElement} host.root
 * @param {{ entries: Entry[], ideas: string[], evidence: string[], sources: Record<string, object>,
 *   state: State }} host.data
 * @param {Record<string, string>} host.labels
 * @param {(state: State) => void} host.onChange called after each change that the reader makes
 * @returns {{ update: (changes: Partial<State>) => void, remove: () => void }} `update` shows a
 *   change that comes from elsewhere; `remove` stops listening
 */
export function render({ root, data, labels, onChange }) {
  const { entries, ideas, evidence, sources } = data;
  const byId = new Map(entries.map((entry) => [entry.id, entry]));
  let state = { ...data.state };
  let view = filtered(entries, state);

  const change = (changes) => {
    show(changes);
    onChange(state);
  };
  const filter = (name, values) =>
    radios({
      legend: labels[name],
      values: ["all", ...values],
      texts: [labels.all, ...values.map((value) => labels[`${name}_${value}`])],
      onInput: (value) => change({ [name]: value }),
    });
  const ideaFilter = filter("idea", ideas);
  const evidenceFilter = filter("evidence", evidence);
  markLanes(ideaFilter.row, ideas);
  const explained = html("p", { class: "rl-small" });
  const status = html("p", { class: "rl-status", role: "status" });
  const lines = svg("svg", { class: "rl-descent", "aria-hidden": "true" });
  const list = html("ol", { class: "rl-rows", "aria-label": labels.rows });
  const rows = new Map(entries.map((entry) => [entry.id, makeRow(entry)]));
  const years = yearMarks(entries);
  list.append(...entries.map((entry) => rows.get(entry.id).item));
  const drawing = html(
    "div",
    { class: "rl-lineage" },
    ideaFilter.row,
    evidenceFilter.row,
    explained,
    status,
    legend(labels),
    html("div", { class: "rl-tree" }, lines, list),
  );
  const plain = root.querySelector(".rl-plain");
  root.classList.add("rl-sized");
  root.replaceChildren(drawing);
  if (plain) {
    const texts = { toPlain: labels.as_list, toDrawing: labels.as_drawing };
    root.append(plainSwitch({ plain, drawing, ...texts }), plain);
  }

  /** A row: a button, and a card that it opens. */
  function makeRow(entry) {
    const card = html("div", { class: "rl-card", id: `rl-card-${entry.id}` });
    const toggle = button("", () => change({ entry: state.entry === entry.id ? "" : entry.id }), {
      class: "rl-row",
      "aria-controls": card.id,
    });
    const said = {
      name: entry.name,
      date: entry.date || labels.undated,
      ideas: entry.ideas.map((idea) => labels[`idea_${idea}`]).join(", "),
    };
    toggle.setAttribute("aria-label", fill(labels.row_spoken, said));
    toggle.append(
      html("span", { class: "rl-row-name" }, entry.name),
      html("span", { class: "rl-row-date" }, entry.date || labels.undated),
    );
    return { item: html("li", {}, toggle, card), toggle, card };
  }

  /** One row is reached by the tabulator, the others by arrow keys. */
  list.addEventListener("keydown", (event) => {
    const at = view.shown.findIndex(({ id }) => rows.get(id).toggle === event.target);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = view.shown.length - 1;
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const to = view.shown[Math.min(Math.max(steps[event.key], 0), last)];
    reach(to.id);
    rows.get(to.id).toggle.focus();
  });

  const reach = (id) => {
    for (const [other, { toggle }] of rows) toggle.tabIndex = other === id ? 0 : -1;
  };

  const cardOf = (entry) => {
    const isKnown = ({ kind }) => state.evidence === "all" || kind === state.evidence;
    const cite = (ground) => citation(ground, sources, labels);
    const go = (id) =>
      button(byId.get(id).name, () => {
        change({ entry: id });
        rows.get(id).toggle.focus();
      });
    const facts = entry.facts.map((fact) =>
      html(
        "div",
        {},
        html("dt", {}, labels[`fact_${fact.name}`]),
        html("dd", {}, fact.text, " ", cite(fact)),
      ),
    );
    const says = entry.says
      .filter(isKnown)
      .map((said) => html("p", {}, badge(said.kind, labels), " ", said.text, " ", cite(said)));
    const parents = entry.from
      .filter(isKnown)
      .map((line) =>
        html(
          "li",
          {},
          badge(line.kind, labels),
          ` ${labels[`of_${line.of}`]} `,
          view.shown.includes(byId.get(line.id)) ? go(line.id) : byId.get(line.id).name,
          " ",
          cite(line),
        ),
      );
    const children = new Set(view.lines.filter(({ from }) => from === entry.id).map(({ to }) => to));
    const parts = [
      html("p", { class: "rl-small" }, labels[`kind_${entry.kind}`], " · ", ideasOf(entry, labels)),
      html("dl", {}, ...facts),
      ...says,
      html("p", { class: "rl-heading" }, labels.descends),
      parents.length > 0 ? html("ul", {}, ...parents) : html("p", {}, labels.no_parent),
    ];
    if (children.size > 0) {
      const links = [...children].map(go);
      parts.push(html("p", { class: "rl-heading" }, labels.leads), html("p", {}, ...links));
    }
    return parts;
  };

  const show = (changes) => {
    const before = state;
    state = { ...state, ...changes };
    view = filtered(entries, state);
    ideaFilter.show(state.idea);
    evidenceFilter.show(state.evidence);
    explained.textContent = labels[`explain_${state.evidence}`];
    const shown = new Set(view.shown.map(({ id }) => id));
    for (const [id, { item, toggle, card }] of rows) {
      item.hidden = !shown.has(id);
      const isOpen = id === state.entry && shown.has(id);
      toggle.setAttribute("aria-expanded", String(isOpen));
      item.classList.toggle("rl-open", isOpen);
      card.hidden = !isOpen;
      card.replaceChildren(...(isOpen ? cardOf(byId.get(id)) : []));
    }
    markYears(view.shown, rows, years);
    reach(shown.has(state.entry) ? state.entry : view.shown[0]?.id);
    const isNew = before.idea !== state.idea || before.evidence !== state.evidence;
    if (isNew || status.textContent === "") status.textContent = statusText();
    draw();
  };

  const statusText = () => {
    const told = fill(labels.status, {
      shown: String(view.shown.length),
      count: String(entries.length),
      lines: String(view.lines.length),
    });
    if (state.evidence === "all" || view.lost.length === 0) return told;
    const names = view.lost.map(({ name }) => name).join(", ");
    return `${told} ${fill(labels.status_lost, { names })}`;
  };

  /** Lines and dots, at the places that the rows have now. */
  const draw = () => {
    const lane = parseFloat(getComputedStyle(drawing).getPropertyValue("--rl-lane")) || 18;
    const places = new Map();
    for (const { id, ideas: own } of view.shown) {
      const { toggle } = rows.get(id);
      const y = toggle.offsetTop + toggle.offsetHeight / 2;
      places.set(id, { x: (ideas.indexOf(own[0]) + 0.75) * lane, y, lane: own[0] });
    }
    placeCard();
    lines.setAttribute("width", String((ideas.length + 0.5) * lane));
    lines.setAttribute("height", String(list.offsetHeight));
    const { entry } = state;
    const ofEntry = ({ from, to }) => from === entry || to === entry;
    const ordered = [...view.lines].sort((one, two) => ofEntry(one) - ofEntry(two));
    const paths = ordered.map((line, i) => {
      const twin = ordered.findIndex(({ from, to }) => from === line.from && to === line.to) < i;
      const kind = `rl-path rl-path-${line.of}${line.kind === "hypothesis" ? " rl-guess" : ""}`;
      const emphasis = places.has(entry) && !ofEntry(line) ? " rl-back" : "";
      return path(places, line, twin, `${kind}${emphasis}`);
    });
    const dots = [...places].map(([id, place]) => dot(place, id === entry));
    lines.replaceChildren(...paths, ...dots);
  };

  /** Beside the tree where there is room, and not below its end; in the row elsewhere. */
  const placeCard = () => {
    const open = rows.get(state.entry);
    if (!open || open.card.hidden) {
      list.style.minHeight = "";
      return;
    }
    open.card.style.top = "";
    list.style.minHeight = "";
    if (getComputedStyle(open.card).position !== "absolute") return;
    const height = open.card.offsetHeight;
    list.style.minHeight = `${height}px`;
    const top = Math.min(open.item.offsetTop, list.offsetHeight - height);
    open.card.style.top = `${Math.max(top, 0)}px`;
  };

  const observer = new ResizeObserver(draw);
  observer.observe(list);
  show({});
  return { update: show, remove: () => observer.disconnect() };
}

/** A line from a parent's dot down to a child's, with a question mark where it is a guess. */
function path(places, { from, to, kind: evidence }, isTwin, kind) {
  const [one, two] = [places.get(from), places.get(to)];
  const between = [...places.values()].filter(({ x, y }) => x === one.x && y > one.y && y < two.y);
  const isAlong = one.x === two.x && (between.length > 0 || isTwin);
  const aside = isAlong || isTwin ? (isTwin ? -BOW : BOW) : 0;
  const span = two.y - one.y;
  const bends = `${one.x + aside} ${one.y + 0.45 * span} ${two.x + aside} ${two.y - 0.45 * span}`;
  const parts = [svg("path", { class: kind, d: `M${one.x} ${one.y}C${bends} ${two.x} ${two.y}` })];
  if (evidence === "hypothesis") {
    const [x, y] = [(one.x + two.x) / 2 + 0.75 * aside, (one.y + two.y) / 2 + 4];
    parts.push(svg("text", { class: `rl-ask ${kind}`, x, y, "text-anchor": "middle" }, "?"));
  }
  return svg("g", {}, ...parts);
}

function dot({ x, y, lane }, isOpen) {
  return svg("circle", { class: `rl-stop rl-lane-${lane}`, cx: x, cy: y, r: isOpen ? 7 : 5 });
}

/** A dot of its lane before each idea of the filter. */
function markLanes(row, ideas) {
  const choices = [...row.querySelectorAll("label")].slice(1);
  choices.forEach((choice, i) => {
    const mark = svg("svg", { class: "rl-mark", width: 12, height: 12, "aria-hidden": "true" });
    mark.append(svg("circle", { class: `rl-stop rl-lane-${ideas[i]}`, cx: 6, cy: 6, r: 5 }));
    choice.prepend(mark);
  });
}

/** A span for the year of each entry that has one. */
function yearMarks(entries) {
  return new Map(
    entries
      .filter(({ year }) => year)
      .map(({ id, year }) => [id, html("span", { class: "rl-year", "aria-hidden": "true" }, year)]),
  );
}

/** The year before the first row of each year. */
function markYears(shown, rows, years) {
  for (const mark of years.values()) mark.remove();
  let last = "";
  for (const { id, year } of shown) {
    if (year && year !== last) rows.get(id).item.prepend(years.get(id));
    last = year || last;
  }
}

function ideasOf(entry, labels) {
  return entry.ideas.map((idea) => labels[`idea_${idea}`]).join(", ");
}

function badge(kind, labels) {
  return html("b", { class: `rl-badge rl-badge-${kind}` }, labels[`evidence_${kind}`]);
}

/** The source as a link where it has an address, with the place in it, in brackets. */
function citation({ source, at, tag }, sources, labels) {
  const { text, url } = sources[source];
  const isLink = /^https?:\/\//.test(url);
  const name = isLink ? html("a", { href: url, rel: "noopener" }, text) : text;
  const more = [at, tag === "K" ? labels.not_seen : ""].filter(Boolean);
  const place = more.length > 0 ? `, ${more.join(", ")}` : "";
  return html("span", { class: "rl-cite" }, "(", name, `${place})`);
}

/** One sample of each kind of line. */
function legend(labels) {
  const sample = (kind) =>
    svg(
      "svg",
      { width: 34, height: 12, "aria-hidden": "true" },
      svg("path", { class: `rl-path ${kind}`, d: "M1 6H33" }),
    );
  const entry = (kind, text) => html("li", {}, sample(kind), text);
  return html(
    "ul",
    { class: "rl-legend" },
    entry("rl-path-weights", labels.legend_weights),
    entry("rl-path-recipe", labels.legend_recipe),
    entry("rl-path-name", labels.legend_name),
    entry("rl-path-weights rl-guess", labels.legend_hypothesis),
  );
}
