// Loads the search index when a reader opens the search, not with every page. Sphinx keeps a query
// that comes before its index and answers it then.
(() => {
  "use strict";
  const dialog = document.getElementById("pst-search-dialog");
  const address = new URL("../searchindex.js", document.currentScript.src).href;
  if (!dialog) return;
  const observer = new MutationObserver(() => {
    if (!dialog.open) return;
    observer.disconnect();
    const script = document.createElement("script");
    script.src = address;
    document.head.append(script);
  });
  observer.observe(dialog, { attributeFilter: ["open"] });
})();
