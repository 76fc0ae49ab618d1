"""Equations and the code that computes them, linked both ways.

A docstring of ``rlhf_lab`` names the label of its equation in double backquotes, and that is all an
author writes. On the page the equation's number, and a line below it, lead to the function's entry
in the reference; in the reference the label leads to the equation. A label on one side alone is a
warning, and so fails the build. A step of a derivation, which no code computes, has a label that
does not begin with ``eq-``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, cast

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.domains.math import MathDomain
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

import rlhf_lab

logger = logging.getLogger(__name__)

LABEL = re.compile(r"eq-[a-z0-9-]+")
_QUOTED = re.compile(rf"``({LABEL.pattern})``")
_NUMBER = re.compile(r'(id="equation-(eq-[a-z0-9-]+)">\s*<span class="eqno">)(\(\d+\))')


def implementers(package: Path) -> dict[str, list[str]]:
    """Full names of the classes and functions whose docstrings name a label, by label.

    The files are parsed, not imported. A module's own docstring does not count: it may speak of an
    equation that it leaves to a function.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        for name, docstring in _docstrings(ast.parse(path.read_text(encoding="utf-8")), module):
            for label in dict.fromkeys(_QUOTED.findall(docstring)):
                found.setdefault(label, []).append(name)
    return found


def _docstrings(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{prefix}.{child.name}"
            yield name, ast.get_docstring(child) or ""
            yield from _docstrings(child, name)


def orphans(
    labels: Mapping[str, str], code: Mapping[str, list[str]], documented: Mapping[str, str]
) -> list[tuple[str, str]]:
    """What is linked one way only, as (document, message).

    Args:
        labels: document of each labelled equation.
        code: names of the objects whose docstrings name each label.
        documented: document of each object that has an entry in the reference.
    """
    found = []
    for label, page in labels.items():
        names = code.get(label, [])
        if not names:
            found.append((page, f"no docstring of rlhf_lab names the equation {label}"))
        elif not any(name in documented for name in names):
            found.append((page, f"{names[0]}, which computes {label}, is not in the reference"))
    for label, names in code.items():
        if label not in labels:
            pages = [(documented[name], name) for name in names if name in documented]
            found += [(page, f"{name} names {label}, which no page has") for page, name in pages]
    return found


def check(_app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of every orphan, once all documents are read."""
    equations = _math(env).equations
    labels = {label: page for label, (page, _) in equations.items() if LABEL.fullmatch(label)}
    documented = {name: entry.docname for name, entry in _python(env).objects.items()}
    for page, message in orphans(labels, of_package(), documented):
        logger.warning(message, location=page, type="rlhf", subtype="equation")


class LinkEquations(SphinxPostTransform):
    """Adds both directions of the links to one document."""

    default_priority = 5
    formats = ("html",)

    def run(self, **_: Any) -> None:
        """A line of code below each equation, and a link around each label that stands in text."""
        math, python = _math(self.env), _python(self.env)
        code = of_package()
        for equation in list(self.document.findall(nodes.math_block)):
            names = [n for n in code.get(equation.get("label") or "", []) if n in python.objects]
            if names:
                line = nodes.paragraph(classes=["rl-equation-code"])
                for name in names:
                    line += _link(self, name, nodes.literal("", short(name)))
                equation.parent.insert(equation.parent.index(equation) + 1, line)
        for literal in list(self.document.findall(nodes.literal)):
            label = literal.astext()
            if LABEL.fullmatch(label) and label in math.equations:
                page, _number = math.equations[label]
                builder = cast(StandaloneHTMLBuilder, self.app.builder)
                uri = builder.get_relative_uri(self.env.docname, page)
                link = nodes.reference(
                    "", "", internal=True, refuri=f"{uri}#{anchor(label)}", classes=["rl-equation"]
                )
                literal.replace_self(link)
                link += literal


def number_links(
    app: Sphinx,
    pagename: str,
    _templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Make each equation's number a link to the code; Sphinx writes it outside of the doctree."""
    if doctree is None or "body" not in context:
        return
    code, python = of_package(), _python(app.env)

    def linked(match: re.Match[str]) -> str:
        names = [name for name in code.get(match[2], []) if name in python.objects]
        if not names:
            return match[0]
        entry = python.objects[names[0]]
        uri = app.builder.get_relative_uri(pagename, entry.docname)
        target = escape(f"{uri}#{entry.node_id}")
        return f'{match[1]}<a href="{target}" title="{escape(names[0])}">{match[3]}</a>'

    body = _NUMBER.sub(linked, context["body"])
    # A wide one scrolls on a narrow page, and has to be reached by keyboard for that.
    context["body"] = body.replace('<div class="math ', '<div tabindex="0" class="math ')


def anchor(label: str) -> str:
    """The id that Sphinx gives to an equation."""
    return nodes.make_id(f"equation-{label}")


def short(name: str) -> str:
    """A full name without the package, as a reader meets it: ``objectives.gae``."""
    return name.removeprefix("rlhf_lab.")


def _link(transform: SphinxPostTransform, name: str, text: nodes.literal) -> nodes.reference:
    entry = _python(transform.env).objects[name]
    builder = cast(StandaloneHTMLBuilder, transform.app.builder)
    uri = builder.get_relative_uri(transform.env.docname, entry.docname)
    link = nodes.reference("", "", internal=True, refuri=f"{uri}#{entry.node_id}")
    link += text
    return link


def _math(env: BuildEnvironment) -> MathDomain:
    return cast(MathDomain, env.get_domain("math"))


def _python(env: BuildEnvironment) -> PythonDomain:
    return cast(PythonDomain, env.get_domain("py"))


@cache
def of_package() -> dict[str, list[str]]:
    """The map of the package that the chapters import, parsed once."""
    return implementers(Path(rlhf_lab.__file__).parent)


def register(app: Sphinx) -> None:
    """Connect the links and the check."""
    app.add_post_transform(LinkEquations)
    app.connect("env-check-consistency", check)
    app.connect("html-page-context", number_links)
