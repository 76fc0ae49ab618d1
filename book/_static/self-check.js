// Self-check questions: a reader chooses or types, presses the button, and reads what is said about
// that answer. Nothing is kept, nothing is sent. A classic script, so that it also runs on pages
// opened from disk. Without it the answers are folded below each question.
(() => {
  "use strict";
  const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

  /** The number that a reader typed, with a point or a comma, or null. */
  const parsed = (text) => {
    const plain = text.trim().replace("−", "-").replace(",", ".");
    return NUMBER.test(plain) ? Number(plain) : null;
  };

  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  const start = (form) => {
    const labels = JSON.parse(form.dataset.labels);
    const { kind } = form.dataset;
    const inputs = [...form.querySelectorAll("fieldset input")];
    const slots = [...form.querySelectorAll(".rl-check-slot")];
    const status = form.querySelector("[role=status]");
    const show = form.querySelector(".rl-check-bar button[type=button]"); // code above has some to copy it
    const answers = [...form.querySelectorAll(".rl-check-answer")].map((place, i) => ({
      place,
      feedback: place.querySelector(".rl-check-feedback"),
      slot: slots[kind === "number" ? 0 : i],
      isRight: place.dataset.right === "true",
      value: "value" in place.dataset ? Number(place.dataset.value) : null,
    }));

    const clear = () => {
      for (const { place, feedback } of answers) place.append(feedback);
      for (const slot of slots) slot.replaceChildren();
      status.textContent = "";
    };

    /** Puts feedback where the reader looks, below a verdict. */
    const say = ({ feedback, slot, isRight }, text = isRight ? labels.right : labels.wrong) => {
      const said = document.createElement("div");
      const verdict = document.createElement("p");
      said.className = `rl-check-said rl-check-${isRight ? "right" : "wrong"}`;
      verdict.className = "rl-check-verdict";
      verdict.textContent = text;
      said.append(verdict, feedback);
      slot.append(said);
    };

    const sayAll = () => {
      for (const answer of answers) {
        if (kind === "number") say(answer, answer.place.querySelector(".rl-check-which").textContent);
        else say(answer);
      }
    };

    const checkNumber = () => {
      const typed = parsed(inputs[0].value);
      inputs[0].setAttribute("aria-invalid", typed === null);
      if (typed === null) {
        status.textContent = labels.no_number;
        return;
      }
      // What a reader rounds by hand may miss a bound by a rounding error of the machine.
      const reach = Number(form.dataset.tolerance) * (1 + 1e-9) + 1e-12;
      const near = ({ value }) => value === null || Math.abs(typed - value) <= reach;
      say(answers.find(near));
    };

    const checkChoices = () => {
      const chosen = answers.filter((_, i) => inputs[i].checked);
      if (chosen.length === 0) {
        status.textContent = labels.choose_first;
        return;
      }
      const found = chosen.filter(({ isRight }) => isRight).length;
      const wanted = answers.filter(({ isRight }) => isRight).length;
      const mistaken = chosen.length - found;
      if (kind === "several" && found === wanted && mistaken === 0) sayAll();
      else chosen.forEach((answer) => say(answer));
      if (kind === "several") status.textContent = fill(labels.score, { found, wanted, mistaken });
    };

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      clear();
      if (kind === "number") checkNumber();
      else checkChoices();
    });
    form.addEventListener("input", clear);
    show.addEventListener("click", () => {
      clear();
      sayAll();
    });
    form.dataset.ready = "";
  };

  document.querySelectorAll("form.rl-check").forEach(start);
})();
