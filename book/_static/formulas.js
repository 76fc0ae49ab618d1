// Sets a page's formulas. MathJax is large: it is fetched at once where a formula is on the first
// screen, else when the reader first moves, and after some seconds in any case. Formulas on the
// screen come first; the others follow one at a time, so that the page answers meanwhile.
// A classic script, so that it also runs on pages opened from disk.
(() => {
  "use strict";
  const PATIENCE = 5000; // milliseconds
  const MOVES = ["scroll", "pointermove", "pointerdown", "touchstart", "keydown", "focusin"];
  const address = document.currentScript.dataset.mathjax;

  const onScreen = (formula) => {
    const { top, bottom } = formula.getBoundingClientRect();
    return bottom > 0 && top < innerHeight; // one that is hidden has no height, at 0
  };

  // Between two tasks a page answers. (An idle moment may never come: a page that nobody looks at
  // has none.)
  const pause = () => new Promise((go) => setTimeout(go));

  const set = async () => {
    await MathJax.startup.promise;
    const all = [...document.querySelectorAll(".math")];
    const first = all.filter(onScreen);
    const rest = all.filter((formula) => !first.includes(formula));
    await MathJax.typesetPromise(first);
    for (const formula of rest) {
      await pause();
      await MathJax.typesetPromise([formula]);
    }
    document.documentElement.dataset.formulas = "set";
  };

  let asked = false;
  const fetchAndSet = () => {
    if (asked) return;
    asked = true;
    for (const move of MOVES) removeEventListener(move, fetchAndSet, true);
    const script = document.createElement("script");
    script.src = address;
    script.addEventListener("load", set);
    document.head.append(script);
  };

  for (const move of MOVES) addEventListener(move, fetchAndSet, { capture: true, passive: true });
  // A reader sees the text before MathJax is asked for.
  new PerformanceObserver((painted, observer) => {
    if (painted.getEntriesByName("first-contentful-paint").length === 0) return;
    observer.disconnect();
    setTimeout(() => {
      if ([...document.querySelectorAll(".math")].some(onScreen)) fetchAndSet();
      else setTimeout(fetchAndSet, PATIENCE);
    });
  }).observe({ type: "paint", buffered: true });
})();
