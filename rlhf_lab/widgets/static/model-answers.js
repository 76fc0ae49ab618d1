/**
 * Models that answer in the page: the reader types a prompt, and every model writes its answer beside
 * the others. A token that the reader chooses opens what all of them expected at its place.
 *
 * The models' files are fetched when the reader first asks. What they write is text and stays text.
 */

import { button, fill, html, numberFormat, slider, uniqueId } from "./kit.js";
import { LanguageModels } from "./language-model/client.js";
import { piece } from "./token-inspector.js";

/**
 * @typedef {object} Model
 * @property {string} name
 * @property {string} title
 * @property {number} bytes to fetch
 * @property {string} [base] the model from which this one's files are the difference
 *
 * @typedef {object} Data as in `rlhf_lab.widgets.model_answers`
 * @property {string} folder of the models, from this module
 * @property {Model[]} models
 * @property {string} reference the model that the others are compared with
 * @property {number} maxNewTokens
 * @property {{ prompt: string }[]} examples
 */

const TEMPERATURE = { min: 0, max: 1.5, step: 0.1 };
const SEEDS = { min: 0, max: 2 ** 32 - 1, step: 1 };
const MEGABYTE = 1e6;
const UNDER_TEXT = 45; // percent of colour at most: more would take the text's contrast
const FULL = 5; // nats: where they disagree so far, the colour is strongest
const TAIL = 40; // characters of the text in front of a token that are repeated

/**
 * Draws the component into `root`, whose content it replaces.
 *
 * @param {object} host
 * @param {HTMLElement} host.root
 * @param {Data} host.data
 * @param {Record<string, string>} host.labels
 * @param {string} host.language BCP 47 tag of the labels
 * @returns {{ remove: () => void }} ends the models
 */
export function render({ root, data, labels, language }) {
  const { models, examples, maxNewTokens } = data;
  const number = numberFormat(language);
  const list = new Intl.ListFormat(language, { type: "unit", style: "short" });
  const megabytes = (bytes) => number(bytes / MEGABYTE, 1);
  const total = models.reduce((sum, { bytes }) => sum + bytes, 0);
  const clients = new LanguageModels();
  /** @type {Map<string, number>} bytes that have arrived */
  const loaded = new Map();
  let context = 0; // tokens
  /** The answers in sight: their prompt, what ends their writing and their comparison, places. */
  let run = null;

  const form = promptForm({ labels, number, examples, onAnswer: () => answer() });
  const stop = button(labels.stop, () => run.controller.abort());
  const answerButton = button(labels.answer, () => answer(), { class: "rl-button rl-primary" });
  const status = html("p", { class: "rl-status" });
  const progress = html("progress", { max: total, value: 0, "aria-label": labels.loading_name });
  const failures = html("div", { class: "rl-failures", role: "alert" });
  // Said by screen readers, answer by answer; what is seen comes token by token.
  const spoken = html("div", { class: "rl-spoken", role: "log" });
  const columns = models.map((model) =>
    answerColumn({
      title: model.title,
      labels,
      onChoose: (token) => look(model, token),
    }),
  );
  const answers = html("div", { class: "rl-columns" }, ...columns.map(({ node }) => node));
  const next = nextTokenView({ models, reference: data.reference, labels, number });
  status.textContent = fill(labels.size, { size: megabytes(total), count: String(models.length) });
  stop.hidden = true;
  progress.hidden = true;
  answers.hidden = true;
  root.replaceChildren(
    ...form.nodes,
    html("div", { class: "rl-bar rl-bar-start" }, answerButton, stop, progress),
    status,
    failures,
    answers,
    next.node,
    spoken,
  );

  const isWhole = () => models.every(({ name }) => loaded.get(name) === Infinity);
  const showProgress = () => {
    if (!run || run.controller.signal.aborted) return;
    progress.hidden = isWhole();
    if (isWhole()) {
      status.textContent = labels.answering;
      return;
    }
    const arrived = ({ name, bytes }) => Math.min(loaded.get(name) ?? 0, bytes);
    const sum = models.reduce((bytes, model) => bytes + arrived(model), 0);
    progress.value = sum;
    status.textContent = fill(labels.loading, { loaded: megabytes(sum), size: megabytes(total) });
  };

  const load = async ({ name, base }, signal) => {
    const onProgress = (bytes) => {
      loaded.set(name, bytes);
      showProgress();
    };
    const folder = new URL(`${data.folder}${name}/`, import.meta.url);
    try {
      const info = await clients.load(name, folder, { base, signal, onProgress });
      context = info.context;
      loaded.set(name, Infinity);
    } catch (error) {
      loaded.delete(name);
      throw error;
    }
    showProgress();
  };

  /** One model's part of a run: fetched if need be, then its answer. */
  const write = async (model, column, { prompt, controller: { signal } }, options) => {
    column.begin();
    try {
      await load(model, signal);
      const { text, finishReason } = await clients.generate(model.name, prompt, {
        ...options,
        signal,
        onToken: (token) => column.add(token),
      });
      const isCut = finishReason === "length";
      column.end(isCut ? fill(labels.cut, { count: String(maxNewTokens) }) : "");
      const said = text.trim() === "" ? labels.spoken_empty : labels.spoken;
      spoken.append(html("p", {}, fill(said, { model: model.title, text })));
    } catch (error) {
      column.end(error.code === "cancelled" && !column.isEmpty() ? labels.stopped : "");
      throw error;
    }
  };

  const answer = async () => {
    if (!stop.hidden) return; // they are at it
    const prompt = form.prompt();
    failures.replaceChildren();
    if (prompt === "") {
      failures.append(html("p", {}, labels["error_empty-prompt"]));
      form.focus();
      return;
    }
    run?.looking.abort();
    const controller = new AbortController();
    const own = { prompt: `${prompt}\n`, controller, looking: new AbortController(), seen: new Map() };
    run = own;
    spoken.replaceChildren();
    next.hide();
    answers.hidden = false;
    stop.hidden = false;
    if (document.activeElement === answerButton) stop.focus();
    answerButton.disabled = true;
    showProgress();
    const options = { ...form.options(), maxNewTokens };
    const ends = await Promise.allSettled(
      models.map((model, i) => write(model, columns[i], own, options)),
    );
    answerButton.disabled = false;
    if (document.activeElement === stop) answerButton.focus();
    stop.hidden = true;
    progress.hidden = true;
    tell(ends.map((end) => (end.status === "rejected" ? end.reason : null)));
    if (ends.every(({ status: end }) => end === "fulfilled")) await tintAll(own);
  };

  /** What went wrong, a sentence for each reason; of each model, or of their comparison. */
  const tell = (errors) => {
    const codes = new Set(errors.flatMap((error) => (error ? [error.code ?? "worker"] : [])));
    const isStopped = codes.delete("cancelled");
    status.textContent = isStopped ? labels.stopped : codes.size > 0 ? "" : labels.done;
    for (const code of codes) {
      const reason = fill(labels[`error_${code}`], { context: String(context) });
      const who = models.filter((_, i) => errors[i]?.code === code).map(({ title }) => title);
      const isAll = errors.length === 1 || who.length === models.length;
      const said = isAll ? reason : fill(labels.failed_model, { models: list.format(who), reason });
      failures.append(html("p", {}, said));
    }
  };

  /** What all models expected along the answer of one, asked once. */
  const placesOf = (own, model) => {
    if (!own.seen.has(model)) {
      const names = models.map(({ name }) => name);
      const ids = columns[models.indexOf(model)].ids();
      const { signal } = own.looking;
      const asked = clients.compare(names, data.reference, own.prompt, ids, { signal });
      own.seen.set(model, asked);
      asked.catch(() => own.seen.delete(model));
    }
    return own.seen.get(model);
  };

  /** Colours every token by how far the models disagree at its place. */
  const tintAll = async (own) => {
    try {
      for (const [i, model] of models.entries()) {
        const places = await placesOf(own, model);
        if (run === own) columns[i].tint(places.map(({ kl }) => Math.max(...kl)));
      }
    } catch (error) {
      if (error.code !== "cancelled") console.warn(error.message); // the answers stand without
    }
  };

  /** Shows what all models expected where `model` wrote its token number `token`. */
  const look = async (model, token) => {
    const own = run;
    const column = columns[models.indexOf(model)];
    for (const other of columns) if (other !== column) other.choose(null);
    if (!isWhole() || !stop.hidden) return;
    const wanted = { model, token };
    own.wanted = wanted;
    const isWanted = () => run === own && own.wanted === wanted;
    if (!own.seen.has(model)) next.wait();
    try {
      const places = await placesOf(own, model);
      if (isWanted()) next.show(model, column.textBefore(token), places[token]);
    } catch (error) {
      if (!isWanted() || error.code === "cancelled") return;
      next.hide();
      tell([error]);
    }
  };

  return { remove: () => clients.close() };
}

/** The text field with its examples, temperature and seed. */
function promptForm({ labels, number, examples, onAnswer }) {
  const [id, hintId, seedId] = [uniqueId(), uniqueId(), uniqueId()];
  const field = html("textarea", { id, rows: 2, spellcheck: "false", autocomplete: "off" });
  field.setAttribute("aria-describedby", hintId);
  field.value = examples[0].prompt.trim();
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    onAnswer();
  });
  const chips = examples.map(({ prompt }) =>
    button(prompt.trim(), () => {
      field.value = prompt.trim();
      field.focus();
    }),
  );
  const seed = html("input", { type: "number", id: seedId, inputmode: "numeric", ...SEEDS });
  seed.value = "0";
  let temperature = 0;
  const warmth = slider({
    label: labels.temperature,
    range: TEMPERATURE,
    onInput: (value) => {
      temperature = value;
      show();
    },
  });
  const show = () => {
    const text = number(temperature, 1);
    const isGreedy = temperature === 0;
    const said = isGreedy ? labels.temperature_zero_spoken : labels.temperature_spoken;
    const shown = isGreedy ? labels.temperature_zero : text;
    warmth.show(temperature, shown, fill(said, { temperature: text }));
    seed.disabled = isGreedy; // nothing is drawn
  };
  show();
  return {
    nodes: [
      html("label", { class: "rl-heading", for: id }, labels.prompt),
      field,
      html("p", { class: "rl-small", id: hintId }, labels.prompt_hint),
      html("div", { class: "rl-bar rl-examples" }, html("span", {}, labels.examples), ...chips),
      html(
        "div",
        { class: "rl-settings" },
        warmth.row,
        html("div", { class: "rl-seed-field" }, html("label", { for: seedId }, labels.seed), seed),
      ),
    ],
    prompt: () => field.value.trim(),
    focus: () => field.focus(),
    // An empty field of numbers is NaN, which the models refuse with a sentence.
    options: () => ({ temperature, seed: temperature === 0 ? 0 : seed.valueAsNumber }),
  };
}

/**
 * One model's answer: a list box of tokens, of which one is reached by the tabulator.
 *
 * @param {object} options
 * @param {string} options.title
 * @param {Record<string, string>} options.labels
 * @param {(token: number) => void} options.onChoose
 */
function answerColumn({ title, labels, onChoose }) {
  const box = html("div", { class: "rl-written", "aria-label": fill(labels.answer_name, { model: title }) });
  const note = html("p", { class: "rl-small" });
  /** @type {{ node: HTMLElement, id: number, text: string }[]} */
  let tokens = [];

  const choose = (chosen) => {
    tokens.forEach(({ node }, t) => {
      node.setAttribute("aria-selected", String(t === chosen));
      if (chosen !== null) node.tabIndex = t === chosen ? 0 : -1;
    });
  };
  const take = (t) => {
    choose(t);
    tokens[t].node.focus();
    onChoose(t);
  };
  box.addEventListener("click", (event) => {
    const t = tokens.findIndex(({ node }) => node === event.target);
    if (t >= 0) take(t);
  });
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const from = tokens.findIndex(({ node }) => node === event.target);
    const last = tokens.length - 1;
    const to = {
      ArrowLeft: Math.max(from - 1, 0),
      ArrowUp: Math.max(from - 1, 0),
      ArrowRight: Math.min(from + 1, last),
      ArrowDown: Math.min(from + 1, last),
      Home: 0,
      End: last,
      Enter: from,
      " ": from,
    }[event.key];
    if (from < 0 || to === undefined) return;
    event.preventDefault();
    take(to);
  });

  return {
    node: html("section", { class: "rl-column" }, html("p", { class: "rl-heading" }, title), box, note),
    begin() {
      tokens = [];
      box.replaceChildren();
      box.setAttribute("role", "listbox");
      box.setAttribute("aria-busy", "true");
      note.textContent = "";
    },
    /** @param {{ id: number, text: string, isEnd: boolean }} token */
    add({ id, text, isEnd }) {
      const node = html("span", { role: "option", "aria-selected": "false" }, isEnd ? labels.end : text);
      node.className = isEnd ? "rl-piece rl-end" : "rl-piece";
      node.tabIndex = tokens.length === 0 ? 0 : -1;
      const hasName = node.textContent.trim() !== ""; // not so: a new line, a part of a character
      const position = String(tokens.length + 1);
      if (!hasName) node.setAttribute("aria-label", fill(labels.blank, { position }));
      tokens.push({ node, id, text });
      box.append(node);
    },
    /** @param {string} remark why it ended, if not by itself */
    end(remark) {
      box.setAttribute("aria-busy", "false");
      if (tokens.length === 0) box.setAttribute("role", "group"); // a list box has to have options
      note.textContent = remark;
    },
    /** @param {number[]} distances of each token, in nats */
    tint(distances) {
      distances.forEach((nats, t) => {
        const share = UNDER_TEXT * Math.sqrt(Math.min(nats / FULL, 1));
        tokens[t].node.style.setProperty("--rl-share", `${share.toFixed(1)}%`);
      });
    },
    choose,
    isEmpty: () => tokens.length === 0,
    ids: () => tokens.map(({ id }) => id),
    textBefore: (t) => tokens.slice(0, t).map(({ text }) => text).join(""),
  };
}

/** The probabilities of the next token, a column for each model. */
function nextTokenView({ models, reference, labels, number }) {
  const percent = (share) => number(100 * share, 1);
  const sentence = html("p", { class: "rl-sentence", role: "status" });
  const heads = [labels.token, ...models.map(({ title }) => title)].map((title) =>
    html("th", { scope: "col" }, title),
  );
  const body = html("tbody");
  const foot = html("tfoot");
  const caption = html("caption", {}, labels.next_table);
  const head = html("thead", {}, html("tr", {}, ...heads));
  const table = html("table", { class: "rl-expected" }, caption, head, body, foot);
  const node = html("section", { "aria-label": labels.next_name }, sentence, table);
  node.hidden = true;

  const row = (name, cells) => html("tr", {}, html("th", { scope: "row" }, ...name), ...cells);
  const share = (value) => {
    const cell = html("td", { class: "rl-share" }, percent(value));
    cell.style.setProperty("--rl-share", `${(100 * value).toFixed(1)}%`);
    return cell;
  };
  const shown = (token) => ("special" in token ? labels.end : piece(token).shown);

  return {
    node,
    hide() {
      node.hidden = true;
      sentence.textContent = "";
    },
    wait() {
      node.hidden = false;
      table.hidden = true;
      sentence.textContent = labels.comparing;
    },
    /**
     * @param {Model} model that wrote the token
     * @param {string} before the answer in front of it
     * @param {import("./language-model/next-token.js").Place} place
     */
    show(model, before, { tokens, written, probabilities, kl }) {
      const tail = before.length > TAIL ? `…${before.slice(-TAIL)}` : before;
      const values = { context: tail.trim(), model: model.title, token: shown(tokens[written]) };
      sentence.textContent = fill(before === "" ? labels.next_first : labels.next, values);
      const rows = tokens.map((token, i) => {
        const mark = html("span", { class: "rl-mark" }, labels.written);
        const name = [html("span", { class: "rl-shown" }, shown(token)), ...(i === written ? [mark] : [])];
        return row(name, probabilities.map((shares) => share(shares[i])));
      });
      const rest = probabilities.map((shares) => 1 - shares.reduce((a, b) => a + b, 0));
      rows.push(row([labels.others], rest.map((value) => share(Math.max(value, 0)))));
      body.replaceChildren(...rows);
      const { title } = models.find(({ name }) => name === reference);
      const cells = kl.map((nats, i) =>
        html("td", {}, models[i].name === reference ? "–" : number(nats, 2)),
      );
      foot.replaceChildren(row([fill(labels.kl, { reference: title })], cells));
      table.hidden = false;
      node.hidden = false;
    },
  };
}
