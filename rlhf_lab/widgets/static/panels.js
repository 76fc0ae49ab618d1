/**
 * Parts of drawings that are made of panels: scales and ticks, grids, lines, bands, and layers that
 * are drawn anew only when they must.
 */

import { linear, svg, ticks } from "./kit.js";

/** Pixels beside a panel that takes the whole width. */
export const LEFT = 46;
export const RIGHT = 14;

const keys = new WeakMap(); // of the lower layers that are drawn

/** A scale on which equal steps are equal steps of the root; below 0 it stays at 0. */
export function rootScale([low, high], [start, end]) {
  const root = (value) => Math.sqrt(Math.max(value, 0));
  const inner = linear([root(low), root(high)], [start, end]);
  return { place: (value) => inner.place(root(value)), value: (pixel) => inner.value(pixel) ** 2 };
}

/** 0 and values 1, 2, 5 times powers of ten up to `high`, at least `gap` pixels apart. */
export function rootTicks(scale, high, gap) {
  const power = Math.floor(Math.log10(high));
  const all = [power, power - 1, power - 2].flatMap((p) => [5, 2, 1].map((m) => m * 10 ** p));
  const kept = [0];
  for (const value of all.filter((value) => value <= high * (1 + 1e-9))) {
    const isFar = (other) => Math.abs(scale.place(other) - scale.place(value)) >= gap;
    if (kept.every(isFar)) kept.push(value);
  }
  return kept
    .sort((one, two) => one - two)
    .map((value) => [value, Number(value.toPrecision(1)).toString()]);
}

/** Ticks of a linear scale as [value, text]. */
export function evenTicks([low, high], most, number) {
  const found = ticks(low, high, most);
  return found.at.map((value) => [value, number(value, found.digits)]);
}

export function words(left, top, content, anchor = "middle", attributes = {}) {
  return svg("text", { x: left, y: top, "text-anchor": anchor, ...attributes }, content);
}

export function line(kind, points) {
  const known = points.filter((point) => point.every(Number.isFinite));
  const d = known.length > 0 ? `M${known.map((point) => point.map(pixel).join(" ")).join("L")}` : "";
  return svg("path", { class: kind, d });
}

/** A place in a path, to a tenth of a pixel. */
export const pixel = (value) => Math.round(value * 10) / 10;

/** A filled band between [x, low] and [x, high]; where an end is unknown there is none. */
export function band(kind, rows) {
  const known = rows.filter((row) => row.every(Number.isFinite));
  if (known.length < 2) return svg("path", { class: kind });
  const there = known.map(([x, , high]) => `${pixel(x)} ${pixel(high)}`);
  const back = known.reverse().map(([x, low]) => `${pixel(x)} ${pixel(low)}`);
  return svg("path", { class: kind, d: `M${[...there, ...back].join("L")}Z` });
}

export function dot(kind, left, top, r) {
  return svg("circle", { class: kind, cx: pixel(left), cy: pixel(top), r });
}

export function diamond(left, top) {
  const d = `M${pixel(left)} ${pixel(top - 7)}l7 7l-7 7l-7 -7z`;
  return svg("path", { class: "rl-own", d });
}

/** Grid, ticks and title of a panel. */
export function frame({ box, x, y, xTicks, yTicks, title, xLabel }) {
  const { left, right, top, bottom } = box;
  let grid = "";
  for (const [value] of yTicks) grid += `M${left} ${pixel(y.place(value))}H${right}`;
  for (const [value] of xTicks) grid += `M${pixel(x.place(value))} ${top}V${bottom}`;
  const parts = [
    svg("path", { class: "rl-grid", d: grid }),
    words(left - 32, top - 7, title, "start", { class: "rl-panel-title" }),
    ...yTicks.map(([value, text]) => words(left - 6, y.place(value) + 4, text, "end")),
  ];
  if (xLabel !== undefined) {
    parts.push(...xTicks.map(([value, text]) => words(x.place(value), bottom + 16, text)));
    parts.push(words((left + right) / 2, bottom + 34, xLabel));
  }
  return parts;
}

/** Widened a little, so that nothing stands on the edge. */
export function roomy([low, high], share = 0.07) {
  const gap = share * (high - low) || 0.5;
  return [low - gap, high + gap];
}

/** What is drawn outside of a box is cut off. */
export function clip(id, { left, right, top, bottom }) {
  const box = { x: left - 8, y: top - 4, width: right - left + 16, height: bottom - top + 8 };
  return svg("clipPath", { id }, svg("rect", box));
}

/**
 * Two layers of an <svg>: `under` is drawn anew when `key` changes, `over` each time.
 *
 * @param {SVGElement} chart
 */
export function layers(chart, key, width, height, drawUnder, drawOver) {
  if (keys.get(chart) !== key) {
    keys.set(chart, key);
    chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
    chart.setAttribute("height", String(height));
    chart.replaceChildren(svg("g", {}, ...drawUnder()), svg("g"));
  }
  chart.lastChild.replaceChildren(...drawOver());
}
