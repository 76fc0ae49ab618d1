/**
 * A published sweep, opened: cells of β and γ, their means over seeds and Student's intervals, and
 * what changed since SFT. The format is described in `rlhf_lab.widgets.sweep_data`.
 */

/**
 * @typedef {object} Run
 * @property {number} beta
 * @property {number} gamma
 * @property {number} seed
 * @property {(number | null)[]} values in the order of the sweep's `values`
 * @property {((number | null)[] | null)[]} curves in the order of the sweep's `curves`
 * @property {([string, number, number] | null)[]} answers text, gold score, reward-model score
 *
 * @typedef {{ mean: number, low: number, high: number, count: number }} Interval low and high are
 *   NaN where one observation says nothing about its error
 */

const NORMAL = 1.959964; // 97.5 % of the normal distribution
const FEW = [NaN, 12.7062, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691]; // Student's, by degrees of freedom

/** Student's t at 97.5 %, to 4e-4: a table for few degrees of freedom, a series in 1/ν beyond. */
export function studentT(freedom) {
  if (freedom < FEW.length) return FEW[freedom];
  const z = NORMAL;
  return (
    z +
    (z ** 3 + z) / (4 * freedom) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * freedom ** 3)
  );
}

/**
 * Mean with Student's 95 % interval, as `rlhf_lab.figures.mean_interval`; unknown values do not count.
 *
 * @param {(number | null)[]} values
 * @returns {Interval}
 */
export function meanInterval(values) {
  const known = values.filter((value) => value !== null);
  const count = known.length;
  const mean = known.reduce((sum, value) => sum + value, 0) / count; // NaN for none
  if (count < 2) return { mean, low: NaN, high: NaN, count };
  const square = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const half = studentT(count - 1) * Math.sqrt(square / (count - 1) / count);
  return { mean, low: mean - half, high: mean + half, count };
}

/**
 * One pair of weights.
 *
 * @typedef {object} Cell
 * @property {number} beta
 * @property {number} gamma
 * @property {Run[]} runs the published ones; those that were trained here where there is none
 * @property {boolean} isOwn whether the runs were trained here
 * @property {(name: string) => Interval} value at the end
 * @property {(name: string) => Interval} change since the SFT policy of the same seed
 * @property {(name: string) => Interval[] | null} curve over the sweep's steps
 */

/**
 * @param {object} data the published sweep
 * @param {Run[]} own runs that were trained here
 */
export function openSweep(data, own) {
  const place = new Map(data.values.map((name, i) => [name, i]));
  const valueOf = (run, name) => run.values[place.get(name)];
  const curveOf = (run, name) => run.curves[data.curves.indexOf(name)] ?? null;
  const started = new Map(data.sft.map((entry) => [entry.seed, entry]));
  const everything = [...data.runs, ...own];

  const weights = (name) =>
    [...new Set(everything.map((run) => run[name]))].sort((one, two) => one - two);
  const betas = weights("beta");
  const gammas = weights("gamma");
  const cells = new Map();
  for (const beta of betas) {
    for (const gamma of gammas) {
      const here = (run) => run.beta === beta && run.gamma === gamma;
      const published = data.runs.filter(here);
      const runs = published.length > 0 ? published : own.filter(here);
      if (runs.length === 0) continue;
      cells.set(`${beta} ${gamma}`, openCell({ beta, gamma, runs, isOwn: published.length === 0 }));
    }
  }

  function openCell(cell) {
    const kept = new Map();
    const once = (key, make) => {
      if (!kept.has(key)) kept.set(key, make());
      return kept.get(key);
    };
    const { runs } = cell;
    const changeOf = (run, name) => {
      const [now, before] = [valueOf(run, name), started.get(run.seed)?.values[place.get(name)]];
      return now === null || before === undefined || before === null ? null : now - before;
    };
    const curve = (name) => {
      const lists = runs.map((run) => curveOf(run, name)).filter((list) => list !== null);
      if (lists.length === 0) return null;
      const found = data.steps.map((_, i) => meanInterval(lists.map((list) => list[i])));
      return found.some(({ count }) => count > 0) ? found : null;
    };
    return {
      ...cell,
      value: (name) => once(`value ${name}`, () => meanInterval(runs.map((r) => valueOf(r, name)))),
      change: (name) => once(`change ${name}`, () => meanInterval(runs.map((r) => changeOf(r, name)))),
      curve: (name) => once(`curve ${name}`, () => curve(name)),
    };
  }

  const all = [...cells.values()];
  const reference = (name) =>
    meanInterval(data.sft.map((entry) => entry.values[place.get(name)])).mean;
  return {
    betas,
    gammas,
    cells: all,
    own,
    valueOf,
    curveOf,
    suites: data.values.filter((name) => name.startsWith("suite/")),
    /** @returns {Cell | undefined} */
    cell: (beta, gamma) => cells.get(`${beta} ${gamma}`),
    /** @returns {number} mean over seeds of the SFT policies */
    sft: reference,
    /** @returns {Cell} the one with the highest mean */
    best: (name) => all.reduce((one, two) => (two.value(name).mean > one.value(name).mean ? two : one)),
    /** Lowest and highest of a measure at the end of all runs, SFT among them where it has one. */
    range(name) {
      const found = everything.map((run) => valueOf(run, name)).filter((value) => value !== null);
      if (!Number.isNaN(reference(name))) found.push(reference(name));
      return [Math.min(...found), Math.max(...found)];
    },
  };
}
