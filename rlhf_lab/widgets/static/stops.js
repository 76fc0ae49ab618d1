/**
 * A slider that stops at given values only, placed on a log scale; zero stands one gap before the
 * smallest of the others.
 */

import { html, uniqueId } from "./kit.js";

const FINE = 1000; // positions of the native slider

/**
 * @param {number[]} values ascending, at least 0
 * @returns {number[]} their places from 0 to 1
 */
export function logPlaces(values) {
  const logs = values.filter((value) => value > 0).map(Math.log);
  if (logs.length === 0) return values.map(() => 0);
  const span = logs.at(-1) - logs[0];
  const hasZero = values[0] === 0;
  const gap = hasZero ? span / Math.max(logs.length - 1, 1) || 1 : 0;
  const whole = span + gap || 1;
  return values.map((value) => (value === 0 ? 0 : (gap + Math.log(value) - logs[0]) / whole));
}

/**
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.className of the row, for its colour
 * @param {(value: number) => string} options.write a stop's text
 * @param {(value: number) => void} options.onInput
 */
export function stopSlider({ label, className, write, onInput }) {
  const id = uniqueId();
  const input = html("input", { type: "range", id, min: 0, max: FINE, step: 1 });
  const output = html("output", { for: id });
  const marks = html("div", { class: "rl-stops", "aria-hidden": "true" });
  let stops = [];
  let places = [];
  let current = 0;
  let isHeld = false;

  const choose = (index) => {
    const next = Math.min(Math.max(index, 0), stops.length - 1);
    input.value = String(FINE * places[next]);
    if (next !== current) onInput(stops[next]);
  };
  input.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const to = {
      ArrowRight: current + 1,
      ArrowUp: current + 1,
      PageUp: current + 1,
      ArrowLeft: current - 1,
      ArrowDown: current - 1,
      PageDown: current - 1,
      Home: 0,
      End: stops.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(to);
  });
  input.addEventListener("pointerdown", () => {
    isHeld = true;
  });
  for (const end of ["pointerup", "pointercancel", "change"]) {
    input.addEventListener(end, () => {
      isHeld = false;
    });
  }
  input.addEventListener("input", () => {
    const raw = input.valueAsNumber / FINE;
    const gaps = places.map((place) => Math.abs(place - raw));
    const nearest = gaps.indexOf(Math.min(...gaps));
    // Assistive technology moves by small steps, which must not all end where they began.
    const step = isHeld || nearest !== current ? 0 : Math.sign(raw - places[current]);
    choose(nearest + step);
  });
  return {
    input,
    row: html(
      "div",
      { class: `rl-stop-slider ${className}` },
      html("label", { for: id }, label),
      output,
      input,
      marks,
    ),
    /** @param {number[]} values ascending */
    setStops(values) {
      stops = values;
      places = logPlaces(values);
      marks.replaceChildren(
        ...stops.map((value, i) => {
          const mark = html("span", {}, write(value));
          mark.style.setProperty("--rl-at", String(places[i]));
          mark.addEventListener("click", () => choose(i));
          return mark;
        }),
      );
    },
    /**
     * @param {number} value one of the stops
     * @param {string} spoken said by a screen reader in place of the number
     */
    show(value, spoken) {
      current = stops.indexOf(value);
      input.value = String(FINE * places[current]);
      input.setAttribute("aria-valuetext", spoken);
      output.textContent = write(value);
      [...marks.children].forEach((mark, i) => mark.classList.toggle("rl-here", i === current));
    },
  };
}
