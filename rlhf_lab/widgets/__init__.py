"""Drawings that answer: one module of JavaScript each, on a page of the book and in a notebook.

A drawing is ``static/<name>.js`` and exports ``render({root, data, labels, language, onChange})``,
which returns ``{update, remove}``. What it shows first, within which ranges, and how it looks where
no script runs, is said by a Python module of the same name (:mod:`rlhf_lab.widgets.ppo_clip`). Two
hosts call ``render``: ``static/element.js`` in the book, with numbers that the build has put into
the page, and :mod:`rlhf_lab.widgets.live` in Jupyter and Colab, where they are traits of a Python
object. Every word that a reader sees stands in ``static/labels/<language>.json``.

Importing this package, or the Python module of a drawing, needs no Jupyter; ``live`` needs the
extra [labs].
"""
