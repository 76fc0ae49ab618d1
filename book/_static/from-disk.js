// A page opened from disk may not read other pages: the search goes without lines from them, and
// says so. A classic script, because a browser loads no modules from disk; it is deferred, so that
// it runs when the page is there and the search has not begun.
if (location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  for (const note of document.querySelectorAll("[data-from-disk]")) note.hidden = false;
}
