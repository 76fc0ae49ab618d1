// Shows a note beside the link that it explains: on hover, on keyboard focus, on a first tap.
// Escape puts it away; a pointer may move onto it. A classic script, so that it also runs on pages
// opened from disk.
(() => {
  "use strict";
  const LINGER = 150; // milliseconds in which a pointer may move from the link to its note
  const GAP = 6;
  const EDGE = 12;
  let shown = null;
  let leaving = 0;

  const place = (note, link) => {
    const lines = [...link.getClientRects()];
    const line = lines.at(-1) ?? link.getBoundingClientRect();
    note.style.left = "0";
    note.style.top = "0";
    const { width, height } = note.getBoundingClientRect();
    const below = line.bottom + GAP;
    const fits = below + height <= innerHeight - EDGE || lines[0].top < height + GAP;
    const left = Math.min(line.left, document.documentElement.clientWidth - EDGE - width);
    note.style.left = `${Math.max(EDGE, left)}px`;
    note.style.top = `${fits ? below : lines[0].top - GAP - height}px`;
  };

  const hide = () => {
    clearTimeout(leaving);
    if (shown) shown.note.hidden = true;
    shown = null;
  };

  const show = (link, note) => {
    clearTimeout(leaving);
    if (shown?.link === link) return;
    hide();
    note.hidden = false;
    place(note, link);
    shown = { link, note };
  };

  const leave = () => {
    clearTimeout(leaving);
    leaving = setTimeout(hide, LINGER);
  };

  const attach = (link, note) => {
    let tap = false;
    link.removeAttribute("title"); // the note says more
    link.setAttribute("aria-describedby", note.id);
    link.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "touch") show(link, note);
    });
    link.addEventListener("pointerleave", leave);
    link.addEventListener("pointerdown", (event) => {
      tap = event.pointerType === "touch" && shown?.link !== link;
    });
    link.addEventListener("focus", () => {
      if (link.matches(":focus-visible") && !tap) show(link, note);
    });
    link.addEventListener("blur", hide);
    link.addEventListener("click", (event) => {
      if (!tap) return;
      event.preventDefault(); // the second tap follows the link
      tap = false;
      show(link, note);
    });
  };

  const links = document.querySelectorAll(".bd-article a.reference.internal");
  for (const note of document.querySelectorAll(".rl-note")) {
    for (const link of links) {
      if (link.getAttribute("href") === note.dataset.for) attach(link, note);
    }
    note.addEventListener("pointerenter", () => clearTimeout(leaving));
    note.addEventListener("pointerleave", leave);
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
  document.addEventListener("pointerdown", (event) => {
    if (shown && !shown.note.contains(event.target) && !shown.link.contains(event.target)) hide();
  });
  addEventListener("scroll", hide, { passive: true });
})();
