"""A page's document tree as plain Markdown: what any notebook shows without the book's extensions.

Works on the resolved tree, in which citations, numbers and references stand as text already, so
that every directive comes out, known here or not: one that is not known gives its text.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from docutils import nodes
from sphinx.locale import admonitionlabels

from rlhf_book import self_check


@dataclass(frozen=True)
class NewCell:
    """A code cell that the page does not have."""

    source: str


Item = str | int | NewCell  # a block of Markdown, the number of a code cell, or a cell

# Trees that say nothing to a reader, or say it with the help of the site.
SILENT = (
    "comment",
    "index",
    "pending",
    "substitution_definition",
    "system_message",
    "target",
    "toctree",
    "tabular_col_spec",
)
_SPECIAL = re.compile(r"([\\`*_\[\]<>$~|])")
_LIST_START = re.compile(r"^([#+-]+|\d+(?=[.)]))(?=.?(?:\s|$))")


@dataclass(frozen=True)
class MarkdownWriter:
    """Turns trees into blocks of Markdown.

    Args:
        address: where the page will stand on the web, or nothing: then no text links to the site.
        image: the file of an image, from the address that the page has for it.
        citation: web address of an entry of the bibliography, from the link to it.
        numbered: "Fig. 1" and its like, from the name of an anchor; None where there is no number.
        equation: number of an equation, from the name of its anchor.
    """

    address: str = ""
    image: Callable[[str], Path | None] = lambda _address: None
    citation: Callable[[str], str | None] = lambda _link: None
    numbered: Callable[[str], str | None] = lambda _anchor: None
    equation: Callable[[str], str | None] = lambda _anchor: None

    # Blocks

    def parts(self, node: nodes.Element, depth: int = 0) -> Iterator[tuple[int, list[Item]]]:
        """Blocks of each element of a page and its sections, with its line; 0 where unknown."""
        for child in node.children:
            if isinstance(child, nodes.section):
                yield from self.parts(child, depth + 1)
            else:
                yield child.line or 0, self.blocks(child, depth)

    def blocks(self, node: nodes.Node, depth: int = 0) -> list[Item]:
        """Blocks of a tree in reading order.

        Args:
            node: any body element.
            depth: of sections around it.
        """
        name = type(node).__name__
        if name in SILENT:
            return []
        special = getattr(self, f"_write_{name}", None)
        if special is not None:
            return special(node, depth)
        if isinstance(node, nodes.Admonition):
            return self._write_admonition(node, depth)
        if isinstance(node, nodes.Text | nodes.Inline | nodes.TextElement):
            text = at_line_start(self.inline(node).strip())
            return [text] if text else []
        assert isinstance(node, nodes.Element)
        if "title" in node and "alt" in node:  # a figure or drawing of the book
            text = f"**{escape(node['title'])}** {escape(node['alt'])}"
            return [text, NewCell(node["cell"])] if node.get("cell") else [text]
        return self.inside(node, depth)

    def inside(self, node: nodes.Element, depth: int) -> list[Item]:
        """Blocks of a node's children, one after the other."""
        return [item for child in node.children for item in self.blocks(child, depth)]

    def _write_section(self, node: nodes.section, depth: int) -> list[Item]:
        titled = isinstance(node.next_node(), nodes.title)
        return self.inside(node, depth + 1 if titled else depth)

    def _write_title(self, node: nodes.title, depth: int) -> list[Item]:
        return [f"{'#' * min(max(depth, 1), 6)} {self.inline(node)}"]

    def _write_rubric(self, node: nodes.rubric, _depth: int) -> list[Item]:
        return [f"**{self.inline(node)}**"]

    def _write_sd_tab_label(self, node: nodes.Element, _depth: int) -> list[Item]:
        return [f"**{self.inline(node)}**"]

    def _write_dropdown_title(self, node: nodes.Element, _depth: int) -> list[Item]:
        return [f"**{self.inline(node)}**"]

    def _write_container(self, node: nodes.container, depth: int) -> list[Item]:
        if node.get("nb_element") == "cell_code":
            return [int(node["cell_index"])]  # the notebook has its code, and no outputs
        return self.inside(node, depth)

    def _write_literal_block(self, node: nodes.literal_block, _depth: int) -> list[Item]:
        language = node.get("language", "").replace("ipython3", "python")
        language = "" if language in ("default", "none", "myst-ansi") else language
        code = node.astext().rstrip("\n")
        fence = "`" * max(3, 1 + longest_run("`", code))
        return [f"{fence}{language}\n{code}\n{fence}"]

    def _write_doctest_block(self, node: nodes.doctest_block, _depth: int) -> list[Item]:
        return [f"```python\n{node.astext()}\n```"]

    def _write_math_block(self, node: nodes.math_block, _depth: int) -> list[Item]:
        tex = node.astext().strip()
        if node.get("nowrap"):
            return [tex]  # an environment, which MathJax finds by itself
        if "\\\\" in tex and "\\begin{" not in tex:
            tex = f"\\begin{{aligned}}\n{tex}\n\\end{{aligned}}"
        number = next(filter(None, map(self.equation, node["ids"])), None)
        tag = f"\n\\tag{{{number}}}" if number else ""
        return [f"$$\n{tex}{tag}\n$$"]

    def _write_bullet_list(self, node: nodes.bullet_list, depth: int) -> list[Item]:
        return self.list_items(node, ("- " for _ in node.children), depth)

    def _write_enumerated_list(self, node: nodes.enumerated_list, depth: int) -> list[Item]:
        first = int(node.get("start", 1))
        return self.list_items(node, (f"{first + i}. " for i in range(len(node))), depth)

    def list_items(self, node: nodes.Element, marks: Iterator[str], depth: int) -> list[Item]:
        """Items of a list, indented below their marks; a code cell ends the list."""
        found: list[Item] = []
        text: list[str] = []
        for item, mark in zip(node.children, marks, strict=False):
            blocks = self.inside(item, depth)
            if all(isinstance(block, str) for block in blocks):
                body = "\n\n".join(map(str, blocks)).replace("\n", "\n" + " " * len(mark))
                text.append(re.sub(r"[ ]+$", "", f"{mark}{body}", flags=re.MULTILINE))
            else:
                found += ["\n".join(text), *blocks] if text else blocks
                text = []
        return [*found, "\n".join(text)] if text else found

    def _write_definition_list(self, node: nodes.definition_list, depth: int) -> list[Item]:
        return [item for entry in node.children for item in self._definition(entry, depth)]

    def _definition(self, node: nodes.Element, depth: int) -> list[Item]:
        terms = [self.inline(child) for child in node.children if isinstance(child, nodes.term)]
        body = [
            item
            for child in node.children
            if isinstance(child, nodes.definition)
            for item in self.inside(child, depth)
        ]
        return quoted([f"**{', '.join(terms)}**", *body])

    def _write_block_quote(self, node: nodes.block_quote, depth: int) -> list[Item]:
        return quoted(self.inside(node, depth))

    def _write_admonition(self, node: nodes.Element, depth: int) -> list[Item]:
        """A note, exercise, theorem and their like; one that a reader opens stays closed."""
        children = list(node.children)
        if children and isinstance(children[0], nodes.title):
            title = self.inline(children.pop(0))
        else:
            title = escape(str(admonitionlabels.get(node.tagname, "")))
        title = f"{self.number(node)}{title}"
        title = title[:1].upper() + title[1:]  # sphinx-proof's are small until they are drawn
        body = [item for child in children for item in self.blocks(child, depth)]
        if "dropdown" in node.get("classes", []) and not has_cells(body):
            return [folded(title, body)]
        return quoted([f"**{title}**", *body] if title else body)

    def _write_check_question(self, node: self_check.check_question, _depth: int) -> list[Item]:
        return [f"**{escape(self_check.heading(node.parent))}.** {self.inline(node)}"]

    def _write_check_choices(self, node: self_check.check_choices, _depth: int) -> list[Item]:
        """What there is to choose from; nothing where a number is asked for."""
        choices = "\n".join(f"- **{c['name']}** {self.inline(c)}" for c in node.children)
        several = node.parent["kind"] == "several"
        hint = [escape(node.parent["labels"]["several"])] if several else []
        return [*hint, choices] if choices else []

    def _write_check_answers(self, node: self_check.check_answers, depth: int) -> list[Item]:
        said = [(escape(self_check.which(a)), self.inside(a, depth)) for a in node.children]
        body = [item for name, items in said for item in (f"**{name}**", *items)]
        return [folded(escape(node.parent["labels"]["answers"]), body)]

    def _write_topic(self, node: nodes.topic, depth: int) -> list[Item]:
        return self._write_admonition(node, depth)

    def _write_sidebar(self, node: nodes.sidebar, depth: int) -> list[Item]:
        return self._write_admonition(node, depth)

    def _write_image(self, node: nodes.image, _depth: int) -> list[Item]:
        return [self.picture(node)]

    def _write_caption(self, node: nodes.caption, _depth: int) -> list[Item]:
        number = self.number(node.parent)
        return [f"**{number}.** {self.inline(node)}" if number else self.inline(node)]

    def _write_line_block(self, node: nodes.line_block, _depth: int) -> list[Item]:
        return ["<br>".join(self.inline(line) for line in node.children)]

    def _write_raw(self, node: nodes.raw, _depth: int) -> list[Item]:
        text = self.inline(node).strip()
        return [text] if text else []

    def _write_transition(self, _node: nodes.transition, _depth: int) -> list[Item]:
        return ["---"]

    def _write_footnote(self, node: nodes.footnote, depth: int) -> list[Item]:
        label = node.next_node(nodes.label)
        body = [i for c in node.children if c is not label for i in self.blocks(c, depth)]
        number = "" if label is None else f"<sup>{label.astext()}</sup> "
        return [f"{number}{body[0]}", *body[1:]] if body else []

    def _write_table(self, node: nodes.table, _depth: int) -> list[Item]:
        title = node.next_node(nodes.title)
        heads = list(node.findall(nodes.thead))
        head = [row for part in heads for row in part.findall(nodes.row)]
        rows = [row for part in node.findall(nodes.tbody) for row in part.findall(nodes.row)]
        width = max((len(row) for row in head + rows), default=0)
        first = [self.cell(entry) for entry in head[0].children] if head else []
        lines = [first, ["---"] * width, *([self.cell(e) for e in r.children] for r in rows)]
        text = "\n".join(f"| {' | '.join(r + [''] * (width - len(r)))} |" for r in lines)
        if title is None:
            return [text]
        number = self.number(node)
        return [f"**{number}.** {self.inline(title)}" if number else self.inline(title), text]

    def cell(self, node: nodes.Element) -> str:
        """A cell of a table: one line, in which no bar may end it."""
        text = "<br>".join(str(block) for block in self.inside(node, 0))
        return text.replace("\n", " ")

    # Inline

    def inline(self, node: nodes.Node) -> str:
        """A tree of inline elements as Markdown on one line."""
        if isinstance(node, nodes.Text):
            return escape(" ".join(re.split(r"\s*\n\s*", str(node))))
        name = type(node).__name__
        if name in SILENT:
            return ""
        special = getattr(self, f"_inline_{name}", None)
        if special is not None:
            return special(node)
        return "".join(map(self.inline, node.children))

    def _inline_emphasis(self, node: nodes.emphasis) -> str:
        return around("*", "".join(map(self.inline, node.children)))

    def _inline_strong(self, node: nodes.strong) -> str:
        return around("**", "".join(map(self.inline, node.children)))

    def _inline_literal(self, node: nodes.literal) -> str:
        text = " ".join(node.astext().split("\n"))
        fence = "`" * (1 + longest_run("`", text))
        pad = " " if text.startswith("`") or text.endswith("`") else ""
        if within(node, nodes.table):
            text = text.replace("|", "\\|")
        return f"{fence}{pad}{text}{pad}{fence}"

    def _inline_math(self, node: nodes.math) -> str:
        tex = " ".join(node.astext().split())
        if within(node, nodes.table):  # a bar would end the cell
            tex = tex.replace("\\|", "\\Vert ").replace("|", "\\vert ")
        return f"${tex}$"

    def _inline_superscript(self, node: nodes.superscript) -> str:
        return f"<sup>{''.join(map(self.inline, node.children))}</sup>"

    def _inline_subscript(self, node: nodes.subscript) -> str:
        return f"<sub>{''.join(map(self.inline, node.children))}</sub>"

    def _inline_footnote_reference(self, node: nodes.footnote_reference) -> str:
        return f"<sup>{node.astext()}</sup>"

    def _inline_image(self, node: nodes.image) -> str:
        return self.picture(node)

    def _inline_raw(self, node: nodes.raw) -> str:
        wanted = "html" in node.get("format", "") and "<script" not in node.astext()
        return node.astext() if wanted else ""

    def _inline_reference(self, node: nodes.reference) -> str:
        text = "".join(map(self.inline, node.children))
        target = link(node)
        cited = self.citation(target)
        if cited:
            target = cited
        elif not re.match(r"(?:https?|mailto):", target):
            if not self.address or target.startswith("#"):
                return text
            target = urljoin(self.address, target)
        return f"[{text}](<{target}>)" if re.search(r"[()\s]", target) else f"[{text}]({target})"

    def picture(self, node: nodes.image) -> str:
        """An image inside the text, so that a notebook is one file."""
        alt, address = escape(node.get("alt", "")), node["uri"]
        path = self.image(address)
        if path is not None:
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            address = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        return f"![{alt}]({address})"

    def number(self, node: nodes.Element) -> str:
        """Name and number of a figure, table, exercise or theorem; empty where it has none."""
        return next(filter(None, map(self.numbered, node.get("ids", []))), "") or ""


def link(node: nodes.reference) -> str:
    """Where a reference leads; ``#anchor`` on the page itself."""
    return str(node.get("refuri") or f"#{node.get('refid', '')}")


def escape(text: str) -> str:
    """Text that Markdown shows as it is, mathematics and entities included."""
    return re.sub(r"&(?=#?\w+;)", "&amp;", _SPECIAL.sub(r"\\\1", text))


def at_line_start(text: str) -> str:
    """Text at the start of a block, where a dash or a number with a dot would begin a list."""
    return _LIST_START.sub(lambda m: f"{m[1]}\\" if m[1].isdigit() else f"\\{m[1]}", text)


def around(mark: str, text: str) -> str:
    """Emphasis, whose marks Markdown wants close to the words."""
    inner = text.strip()
    return text.replace(inner, f"{mark}{inner}{mark}", 1) if inner else text


def longest_run(character: str, text: str) -> int:
    """Length of the longest run of one character."""
    return max(map(len, re.findall(f"{re.escape(character)}+", text)), default=0)


def within(node: nodes.Node, kind: type[nodes.Element]) -> bool:
    """Whether a node stands in an element of a kind."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kind):
            return True
    return False


def folded(title: str, body: list[Item]) -> str:
    """Blocks that a reader opens; there must be no code cell among them."""
    text = "\n\n".join(map(str, body))
    return f"<details>\n<summary><b>{title}</b></summary>\n\n{text}\n\n</details>"


def has_cells(items: Iterable[Item]) -> bool:
    """Whether there is a code cell among the blocks."""
    return not all(isinstance(item, str) for item in items)


def quoted(items: list[Item]) -> list[Item]:
    """Blocks as one quotation, or as several around code cells, which no quotation can hold."""
    found: list[Item] = []
    text: list[str] = []
    for item in [*items, -1]:
        if isinstance(item, str):
            text.append(item)
            continue
        if text:
            lines = "\n\n".join(text).split("\n")
            found.append("\n".join(f"> {line}".rstrip() for line in lines))
        found.append(item)
        text = []
    return found[:-1]
