// Paper is white: a reader who prints a dark page would get grey text on it, for browsers leave
// backgrounds out. So the page is light while it is printed, its figures included. A classic script,
// so that it also runs on pages opened from disk.
(() => {
  "use strict";
  const root = document.documentElement;
  let before = null;

  const start = () => {
    if (before !== null || root.dataset.theme !== "dark") return;
    before = root.dataset.theme;
    root.dataset.theme = "light";
  };
  const end = () => {
    if (before === null) return;
    root.dataset.theme = before;
    before = null;
  };

  addEventListener("beforeprint", start);
  addEventListener("afterprint", end);
  // Some browsers tell of printing in this way only.
  matchMedia("print").addEventListener("change", ({ matches }) => (matches ? start() : end()));
})();
