// Loads the search index when a reader opens the search, not with every page: Sphinx keeps a query
// that comes before its index and answers it then.
(() => {
  "use strict";
  const dialog = document.getElementById("pst-search-dialog");
  const address = new URL("../searchindex.js", document.currentScript.src).href;
  if (!dialog) return;

  const opened = new MutationObserver(() => {
    if (!dialog.open) return;
    opened.disconnect();
    const script = document.createElement("script");
    script.src = address;
    document.head.append(script);
  });
  opened.observe(dialog, { attributeFilter: ["open"] });

  // Sphinx writes results for a page at the site's root. The theme corrects their addresses, but
  // not that of a result which comes alone.
  const root = document.documentElement.dataset.content_root;
  new MutationObserver(() => {
    for (const link of dialog.querySelectorAll("#search-results .search a")) {
      const href = link.getAttribute("href");
      if (!href.startsWith(root)) link.setAttribute("href", root + href);
    }
  }).observe(dialog, { childList: true, subtree: true });
})();
