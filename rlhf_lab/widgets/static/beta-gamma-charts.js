/**
 * The drawings of the β×γ explorer: reward against KL, measures over PPO steps, the alignment tax,
 * and the map of all cells. Each fills an <svg>: first what stays while a slider moves, which is
 * drawn anew only when the width or the sweep changes, then the chosen cell.
 */

import { linear, svg } from "./kit.js";
import {
  LEFT,
  RIGHT,
  band,
  clip,
  diamond,
  dot,
  evenTicks,
  frame,
  layers,
  line,
  pixel,
  roomy,
  rootScale,
  rootTicks,
  words,
} from "./panels.js";

/** @typedef {import("./sweep-data.js").Cell} Cell */

const ROOTS = ["kl", "gradient_ratio"]; // span decades, and may be 0

/**
 * Gold score and reward-model score against exact KL. Through the chosen cell go two lines: where β
 * leads from here, with its band over seeds, and where γ does.
 *
 * @param {object} options
 * @param {SVGElement} options.chart
 * @param {number} options.width pixels
 * @param {ReturnType<import("./sweep-data.js").openSweep>} options.sweep
 * @param {Cell | undefined} options.cell the chosen one
 * @param {{ beta: number, gamma: number }} options.state
 * @param {Record<string, string>} options.labels
 * @param {(value: number, digits: number) => string} options.number
 * @param {(value: number) => string} options.weight writes β or γ
 * @param {string} options.id unique on the page
 * @returns {(x: number, y: number) => Cell} the cell nearest to a point, in pixels
 */
export function drawFrontier({ chart, width, sweep, cell, state, labels, number, weight, id }) {
  const names = ["gold", "rm_score"];
  const panelHeight = 128;
  const highest = Math.max(sweep.range("kl")[1], 0.01) * 1.05;
  const panels = names.map((name, i) => {
    const top = 22 + i * (panelHeight + 28);
    const box = { left: LEFT, right: width - RIGHT, top, bottom: top + panelHeight };
    const range = roomy(sweep.range(name));
    return {
      name,
      box,
      range,
      x: rootScale([0, highest], [box.left, box.right]),
      y: linear(range, [box.bottom, box.top]),
      clip: `${id}-${name}`,
    };
  });
  const height = panels.at(-1).box.bottom + 42;
  const at = ({ x, y, name }, c) => [x.place(c.value("kl").mean), y.place(c.value(name).mean)];
  const along = (key, value) =>
    sweep.cells.filter((c) => c[key] === value && !c.isOwn);

  const under = () =>
    panels.flatMap((panel) => {
      const { box, x, y, range, name } = panel;
      const isLast = panel === panels.at(-1);
      const sft = y.place(sweep.sft(name));
      const parts = frame({
        box,
        x,
        y,
        xTicks: rootTicks(x, highest, 36),
        yTicks: evenTicks(range, 5, number),
        title: labels[`m_${name}`],
        xLabel: isLast ? labels.axis_kl : undefined,
      });
      parts.push(svg("path", { class: "rl-limit", d: `M${box.left} ${pixel(sft)}H${box.right}` }));
      parts.push(words(box.right, sft - 5, labels.sft, "end", { class: "rl-small-text" }));
      for (const gamma of sweep.gammas) {
        parts.push(line("rl-faint", along("gamma", gamma).map((c) => at(panel, c))));
      }
      for (const c of sweep.cells) {
        if (!c.isOwn) parts.push(dot("rl-faint-dot", ...at(panel, c), 3));
      }
      parts.push(clip(panel.clip, box));
      return parts;
    });

  /** The next stops of both sliders as [key, cell, left, top]. */
  const neighbours = (panel) =>
    [
      ["beta", along("gamma", state.gamma)],
      ["gamma", along("beta", state.beta)],
    ].flatMap(([key, row]) => {
      const here = row.findIndex((c) => c[key] === state[key]);
      const next = here < 0 ? [] : [row[here - 1], row[here + 1]];
      return next.filter((c) => c !== undefined).map((c) => [key, c, ...at(panel, c)]);
    });
  /** Their names, unless a stop lies too near to the chosen one to be told apart. */
  const namesOf = (panel, from) =>
    neighbours(panel)
      .filter(([, , left]) => Math.abs(left - from[0]) >= 34)
      .map(([key, c, left, top]) => {
        const text = `${labels[`short_${key}`]} ${weight(c[key])}`;
        const below = top - panel.box.top < 14;
        return words(left, below ? top + 18 : top - 9, text, "middle", {
          class: "rl-small-text rl-halo",
        });
      });

  const over = () =>
    panels.map((panel) => {
      const { x, y, name } = panel;
      const rows = along("gamma", state.gamma);
      const inside = svg("g", { "clip-path": `url(#${panel.clip})` });
      const edge = (c) => {
        const { low, high } = c.value(name);
        return [x.place(c.value("kl").mean), y.place(low), y.place(high)];
      };
      inside.append(
        band("rl-band rl-band-beta", rows.map(edge)),
        line("rl-turn rl-turn-gamma", along("beta", state.beta).map((c) => at(panel, c))),
        line("rl-turn rl-turn-beta", rows.map((c) => at(panel, c))),
      );
      if (cell !== undefined) {
        for (const run of cell.runs) {
          const seed = [sweep.valueOf(run, "kl"), sweep.valueOf(run, name)];
          inside.append(dot("rl-seed", x.place(seed[0]), y.place(seed[1]), 2.5));
        }
        const [left, top] = at(panel, cell);
        for (const [key, , x1, y1] of neighbours(panel)) inside.append(dot(`rl-next-${key}`, x1, y1, 4.5));
        const { low, high } = cell.value(name);
        if (Number.isFinite(low)) {
          inside.append(line("rl-whisker", [[left, y.place(low)], [left, y.place(high)]]));
        }
        inside.append(dot("rl-point", left, top, 6.5));
      }
      for (const run of sweep.own) {
        const [left, top] = [x.place(sweep.valueOf(run, "kl")), y.place(sweep.valueOf(run, name))];
        inside.append(diamond(left, top));
      }
      return svg("g", {}, inside, ...(cell === undefined ? [] : namesOf(panel, at(panel, cell))));
    });

  layers(chart, `frontier ${width} ${sweep.own.length}`, width, height, under, over);
  return (left, top) => {
    const panel = top < (panels[0].box.bottom + panels[1].box.top) / 2 ? panels[0] : panels[1];
    const far = (c) => {
      const [x, y] = at(panel, c);
      return Math.hypot(x - left, y - top);
    };
    return sweep.cells.reduce((one, two) => (far(two) < far(one) ? two : one));
  };
}

/** Curves of every run and every end value of a measure: [lowest, highest]. */
function rangeAlong(sweep, name) {
  const [low, high] = sweep.range(name);
  const found = [low, high].filter(Number.isFinite);
  for (const cell of sweep.cells) {
    for (const { mean } of cell.curve(name) ?? []) if (Number.isFinite(mean)) found.push(mean);
  }
  return [Math.min(...found), Math.max(...found)];
}

/**
 * Small panels, one for each measure, all cells in grey and the chosen one in colour. What was only
 * measured at the end is a line from SFT to there.
 */
export function drawSteps(options) {
  const { chart, width, sweep, cell, data, measures, labels, tickText, id } = options;
  const { steps } = data;
  const columns = width < 420 ? 2 : 3;
  const gap = 8;
  const each = (width + gap) / columns;
  const panelHeight = 92;
  const rowHeight = panelHeight + 34;
  const drawn = measures.filter((name) => sweep.range(name).every(Number.isFinite));
  const panels = drawn.map((name, i) => {
    const [column, row] = [i % columns, Math.floor(i / columns)];
    const top = 22 + row * rowHeight;
    const box = {
      left: column * each + 38,
      right: (column + 1) * each - gap - 9,
      top,
      bottom: top + panelHeight,
    };
    const isRoot = ROOTS.includes(name);
    const range = isRoot ? [0, rangeAlong(sweep, name)[1] * 1.08] : roomy(rangeAlong(sweep, name));
    const x = linear([0, steps.at(-1)], [box.left, box.right]);
    const y = (isRoot ? rootScale : linear)(range, [box.bottom, box.top]);
    return { name, box, x, y, range, isRoot, isLast: i + columns >= drawn.length, clip: `${id}-${name}` };
  });
  const height = 22 + Math.ceil(drawn.length / columns) * rowHeight + 16;

  /** [x, {mean, low, high}] along a cell's runs. */
  const along = ({ name, x }, c) => {
    const curve = c.curve(name);
    if (curve !== null) return curve.map((value, i) => [x.place(steps[i]), value]);
    const from = sweep.sft(name);
    if (!Number.isFinite(from)) return [];
    const start = { mean: from, low: from, high: from };
    return [[x.place(0), start], [x.place(steps.at(-1)), c.value(name)]];
  };
  const means = (panel, c) => along(panel, c).map(([left, { mean }]) => [left, panel.y.place(mean)]);
  const known = (points) => points.filter((point) => point.every(Number.isFinite));

  const under = () =>
    panels.flatMap((panel) => {
      const { box, x, y, range, isRoot, isLast, name } = panel;
      const sft = sweep.sft(name);
      const parts = frame({
        box,
        x,
        y,
        xTicks: [[0, "0"], [steps.at(-1), String(steps.at(-1))]],
        yTicks: isRoot ? rootTicks(y, range[1], 20) : evenTicks(range, 4, tickText(name)),
        title: labels[`m_${name}`],
        xLabel: isLast ? labels.axis_step : undefined,
      });
      if (Number.isFinite(sft) && name !== "kl") {
        const d = `M${box.left} ${pixel(y.place(sft))}H${box.right}`;
        parts.push(svg("path", { class: "rl-limit", d }));
      }
      for (const c of sweep.cells) parts.push(line("rl-faint rl-many", means(panel, c)));
      parts.push(clip(panel.clip, box));
      return parts;
    });

  const over = () =>
    panels.map((panel) => {
      const { box, y, name } = panel;
      if (cell === undefined) return svg("g");
      const rows = along(panel, cell);
      const points = known(means(panel, cell));
      if (points.length === 0) {
        const reason = name === "gradient_ratio" ? labels.no_ptx : labels.not_known;
        return words((box.left + box.right) / 2, (box.top + box.bottom) / 2, reason, "middle", {
          class: "rl-small-text rl-halo",
        });
      }
      const isWhole = cell.curve(name) !== null;
      const edges = rows.map(([left, { low, high }]) => [left, y.place(low), y.place(high)]);
      const inside = svg("g", { "clip-path": `url(#${panel.clip})` });
      inside.append(
        band("rl-band rl-band-beta", edges),
        line(isWhole ? "rl-turn rl-turn-beta" : "rl-turn rl-turn-beta rl-ends", points),
        dot("rl-point", ...points.at(-1), 4),
      );
      return inside;
    });
  layers(chart, `steps ${width} ${sweep.own.length}`, width, height, under, over);
}

/** One line per suite: SFT hollow, the chosen cell full with its interval, the base model a tick. */
export function drawTax({ chart, width, sweep, cell, base, nameOf, labels, number }) {
  const names = sweep.suites;
  const room = Math.min(150, Math.round(0.4 * width));
  const rowHeight = 30;
  const top = 12;
  const bottom = top + names.length * rowHeight;
  const x = linear([0, 100], [room, width - RIGHT - 4]);
  const middleOf = (i) => top + (i + 0.5) * rowHeight;

  const under = () => {
    const marks = evenTicks([0, 100], 5, number);
    const grid = marks.map(([value]) => `M${pixel(x.place(value))} ${top}V${bottom}`).join("");
    return [
      svg("path", { class: "rl-grid", d: grid }),
      ...marks.map(([value, text]) => words(x.place(value), bottom + 16, text)),
      words((room + width - RIGHT) / 2, bottom + 34, labels.axis_suite),
      ...names.flatMap((name, i) => [
        words(room - 10, middleOf(i) + 4, nameOf(name), "end"),
        svg("path", {
          class: "rl-whisker",
          d: `M${pixel(x.place(100 * base(name)))} ${middleOf(i) - 7}v14`,
        }),
        dot("rl-point rl-point-hollow", x.place(100 * sweep.sft(name)), middleOf(i), 6),
      ]),
    ];
  };
  const over = () =>
    names.flatMap((name, i) => {
      if (cell === undefined) return [];
      const { mean, low, high } = cell.value(name);
      const y = middleOf(i);
      const ends = [low, high].map((end) => x.place(100 * Math.min(Math.max(end, 0), 1)));
      const turn = [x.place(100 * sweep.sft(name)), x.place(100 * mean)];
      const parts = [line("rl-turn rl-turn-beta", turn.map((left) => [left, y]))];
      if (Number.isFinite(low)) {
        const box = { x: ends[0], y: y - 6, width: ends[1] - ends[0], height: 12 };
        parts.push(svg("rect", { class: "rl-band rl-band-beta", ...box }));
      }
      parts.push(dot("rl-bead-beta", turn[1], y, 5.5));
      return parts;
    });
  layers(chart, `tax ${width} ${sweep.own.length}`, width, bottom + 42, under, over);
}

/**
 * All cells, coloured by how far a measure lies above or below SFT.
 *
 * @returns {(x: number, y: number) => Cell | undefined} the cell at a point, in pixels
 */
export function drawMap({ chart, width, sweep, state, measure, labels, write, weight, isBest }) {
  const left = 48;
  const top = 4;
  const rowHeight = 40;
  const columnWidth = (width - left - 4) / sweep.betas.length;
  const bottom = top + rowHeight * sweep.gammas.length;
  const column = (beta) => left + columnWidth * sweep.betas.indexOf(beta);
  const row = (gamma) => bottom - rowHeight * (sweep.gammas.indexOf(gamma) + 1);
  const middle = Number.isFinite(sweep.sft(measure)) ? sweep.sft(measure) : 0;
  const values = sweep.cells.map((cell) => cell.value(measure).mean).filter(Number.isFinite);
  const reach = Math.max(...values.map((value) => Math.abs(value - middle))) || 1;

  const under = () => {
    const parts = [
      words((left + width) / 2, bottom + 33, labels.short_beta),
      words(8, (top + bottom) / 2 + 4, labels.short_gamma),
    ];
    for (const beta of sweep.betas) {
      parts.push(words(column(beta) + columnWidth / 2, bottom + 15, weight(beta)));
    }
    for (const gamma of sweep.gammas) {
      parts.push(words(left - 4, row(gamma) + rowHeight / 2 + 4, weight(gamma), "end"));
    }
    for (const cell of sweep.cells) {
      const { mean } = cell.value(measure);
      const box = { x: column(cell.beta) + 1, y: row(cell.gamma) + 1 };
      const size = { width: columnWidth - 2, height: rowHeight - 2, rx: 3 };
      const side = mean >= middle ? "rl-above" : "rl-below";
      const rect = svg("rect", { class: `rl-cell ${side}`, ...box, ...size });
      const share = Number.isFinite(mean) ? Math.abs(mean - middle) / reach : 0;
      rect.style.setProperty("--rl-share", `${(45 * Math.sqrt(share)).toFixed(1)}%`);
      const text = Number.isFinite(mean) ? write(measure, mean) : "–";
      const mark = (isBest(cell) ? "★" : "") + (cell.isOwn ? "◆" : "");
      parts.push(rect);
      parts.push(words(box.x + size.width / 2, box.y + size.height / 2 + 4, `${text}${mark}`));
    }
    return parts;
  };
  const over = () => {
    const box = { x: column(state.beta) + 1, y: row(state.gamma) + 1 };
    const size = { width: columnWidth - 2, height: rowHeight - 2, rx: 3 };
    return [svg("rect", { class: "rl-cell-chosen", ...box, ...size })];
  };
  const key = `map ${width} ${measure} ${sweep.own.length}`;
  layers(chart, key, width, bottom + 38, under, over);
  return (x, y) => {
    const beta = sweep.betas[Math.floor((x - left) / columnWidth)];
    const gamma = sweep.gammas[Math.floor((bottom - y) / rowHeight)];
    return sweep.cell(beta, gamma);
  };
}
