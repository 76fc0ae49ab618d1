// A page opened from disk may not read other pages: the search goes without lines from them, and
// says so. A classic script, because a browser loads no modules from disk.
if (location.protocol === "file:") {
  document.addEventListener("DOMContentLoaded", () => {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
    for (const note of document.querySelectorAll("[data-from-disk]")) note.hidden = false;
  });
}
