/**
 * What the drawings of `rlhf_lab.widgets` have in common: nodes, sliders, a table, numbers.
 *
 * Every text comes from outside (a catalogue of labels, data of a run) and may say anything,
 * `<script>` included: it only ever becomes a text node or an attribute's value, never markup.
 */

const SVG = "http://www.w3.org/2000/svg";
let created = 0;

/** @returns {string} an id that no other node of this page has */
export function uniqueId() {
  created += 1;
  return `rl-explorer-${created}`;
}

/**
 * @param {Element} node
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} children strings become text nodes
 */
function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** An HTML element. */
export function html(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * @param {string} template a label such as "β = {beta}"
 * @param {Record<string, string>} values
 * @returns {string} the label with its values; a name without a value stays as it is
 */
export function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (whole, name) =>
    Object.hasOwn(values, name) ? values[name] : whole,
  );
}

/**
 * @param {string} language a BCP 47 tag
 * @returns {(value: number, digits: number) => string} writes numbers as the language does, with a
 *   true minus sign, and a rounded zero without any sign
 */
export function numberFormat(language) {
  const formats = new Map();
  return (value, digits) => {
    if (!formats.has(digits)) {
      const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
      formats.set(digits, new Intl.NumberFormat(language, options));
    }
    const size = Math.abs(value);
    const text = formats.get(digits).format(size);
    return value < 0 && size >= 0.5 * 10 ** -digits ? `−${text}` : text;
  };
}

/**
 * A labelled native slider with its value in sight; `show` sets value and words.
 *
 * @param {object} options
 * @param {string} options.label
 * @param {{ min: number, max: number, step: number }} options.range
 * @param {(value: number) => void} options.onInput
 */
export function slider({ label, range, onInput }) {
  const id = uniqueId();
  const input = html("input", { type: "range", id, ...range });
  const output = html("output", { for: id });
  input.addEventListener("input", () => onInput(input.valueAsNumber));
  return {
    row: html("div", { class: "rl-slider" }, html("label", { for: id }, label), input, output),
    /**
     * @param {number} value
     * @param {string} text beside the slider
     * @param {string} spoken said by a screen reader in place of the number
     */
    show(value, text, spoken) {
      input.value = String(value);
      input.setAttribute("aria-valuetext", spoken);
      output.textContent = text;
    },
    /** @param {number} max the range's new end; a value beyond it moves there */
    setMax(max) {
      input.max = String(max);
    },
  };
}

/**
 * A button; `attributes` may replace its class.
 *
 * @param {string} text
 * @param {() => void} onPress
 * @param {Record<string, string | number>} attributes
 */
export function button(text, onPress, attributes = {}) {
  const node = html("button", { type: "button", class: "rl-button", ...attributes }, text);
  node.addEventListener("click", onPress);
  return node;
}

/**
 * A labelled native choice; `show` sets it.
 *
 * @param {object} options
 * @param {string} options.label
 * @param {string[]} options.texts one for each choice
 * @param {(index: number) => void} options.onInput
 */
export function select({ label, texts, onInput }) {
  const id = uniqueId();
  const node = html("select", { id }, ...texts.map((text, i) => html("option", { value: i }, text)));
  node.addEventListener("change", () => onInput(Number(node.value)));
  return {
    row: html("div", { class: "rl-select" }, html("label", { for: id }, label), node),
    /** @param {number} index */
    show(index) {
      node.value = String(index);
    },
  };
}

/**
 * Native radio buttons; `show` sets them.
 *
 * @param {object} options
 * @param {string} options.legend
 * @param {string[]} options.values
 * @param {string[]} options.texts one for each value
 * @param {(value: string) => void} options.onInput
 */
export function radios({ legend, values, texts, onInput }) {
  const group = uniqueId();
  const inputs = values.map((value) => html("input", { type: "radio", name: group, value }));
  const choices = inputs.map((input, i) => {
    input.addEventListener("change", () => onInput(values[i]));
    return html("label", { class: "rl-choice" }, input, texts[i]);
  });
  return {
    row: html("fieldset", { class: "rl-choices" }, html("legend", {}, legend), ...choices),
    /** @param {string} value */
    show(value) {
      for (const input of inputs) input.checked = input.value === value;
    },
  };
}

/**
 * A button that exchanges a drawing and what the page has in its place where no script runs.
 *
 * @param {object} options
 * @param {Element} options.plain
 * @param {Element} options.drawing
 * @param {string} options.toPlain the button's text while the drawing is shown
 * @param {string} options.toDrawing its text else
 */
export function plainSwitch({ plain, drawing, toPlain, toDrawing }) {
  plain.classList.add("rl-aside");
  const toggle = button(toPlain, () => {
    const isPlain = drawing.hidden === false;
    drawing.hidden = isPlain;
    plain.classList.toggle("rl-aside", !isPlain);
    toggle.textContent = isPlain ? toDrawing : toPlain;
  });
  return html("p", { class: "rl-bar" }, toggle);
}

/**
 * Rows as CSV (RFC 4180, with the line ends of the figures' files). As in those, a cell keeps its text
 * whatever a spreadsheet would make of it.
 *
 * @param {string[][]} rows
 */
export function csvText(rows) {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return rows.map((row) => `${row.map(cell).join(",")}\n`).join("");
}

/**
 * A table that is filled when a reader opens it, and while it is open; below it, a link to a file of
 * the same rows.
 *
 * @param {object} options
 * @param {string} options.summary what opens it
 * @param {string} options.name the table's name for assistive technology
 * @param {{ text: string, file: string }} options.download the link, and the file's name
 * @param {(string | Node)[]} options.columns
 * @param {() => string[][]} options.rows
 * @param {number[]} [options.words] columns that hold words, not numbers
 */
export function tableOnDemand({ summary, name, download, columns, rows, words = [] }) {
  const heads = columns.map((column) => html("th", { scope: "col" }, column));
  const body = html("tbody");
  const table = html("table", { class: "table" }, html("thead", {}, html("tr", {}, ...heads)), body);
  // A box that scrolls must be reachable by keyboard, and then needs a name.
  const box = html("div", { class: "rl-table", tabindex: 0, role: "region", "aria-label": name });
  box.append(table);
  const link = html("a", { download: download.file }, download.text);
  const below = html("p"); // the link comes with its address: one without leads nowhere
  const details = html("details", {}, html("summary", {}, summary), box, below);
  const isWord = (column) => words.includes(column);
  const update = () => {
    if (!details.open) return;
    const cells = (row) =>
      row.map((text, i) => html("td", { class: isWord(i) ? "rl-word" : "rl-number" }, text));
    const found = rows();
    body.replaceChildren(...found.map((row) => html("tr", {}, ...cells(row))));
    // A true minus sign is for readers; what reads the file knows the hyphen only.
    const written = (row) => row.map((text, i) => (isWord(i) ? text : text.replaceAll("−", "-")));
    const text = csvText([heads.map((head) => head.textContent), ...found.map(written)]);
    URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    if (!below.contains(link)) below.append(link);
  };
  details.addEventListener("toggle", update);
  return { details, update };
}

/**
 * Calls back when a node's width has changed, in pixels.
 *
 * @param {Element} node
 * @param {(width: number) => void} onWidth
 * @returns {() => void} ends it
 */
export function watchWidth(node, onWidth) {
  let width = node.clientWidth;
  const observer = new ResizeObserver(([entry]) => {
    if (entry.contentRect.width === width) return;
    width = entry.contentRect.width;
    onWidth(width);
  });
  observer.observe(node);
  return () => observer.disconnect();
}

/**
 * @param {[number, number]} domain values
 * @param {[number, number]} range pixels
 */
export function linear([low, high], [start, end]) {
  const perUnit = (end - start) / (high - low);
  return {
    place: (/** @type {number} */ value) => start + (value - low) * perUnit,
    value: (/** @type {number} */ pixel) => low + (pixel - start) / perUnit,
  };
}

/** Multiples of 1, 2 or 5 times a power of ten inside [low, high]. */
export function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= rough * (1 - 1e-9));
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return { digits, at: Array.from({ length: count }, (_, i) => (first + i) * step) };
}
