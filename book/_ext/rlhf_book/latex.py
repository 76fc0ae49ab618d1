r"""The book on paper: what the LaTeX builder gets in place of what only a browser can show.

A drawing becomes a still one, a self-check a question whose answers stand at the end of its
chapter, where the solutions of the exercises go as well. The drawings that are tables or lists on
the site are tables and lists. A link to a file of the site says the file's name.

``make pdf`` then runs XeLaTeX on what is written. The stills are SVG, which LaTeX cannot place:
rsvg-convert makes PDF of them. Without it the sources name pictures that are not there, and that is
a warning. Chinese terms are set by ``\rlhan`` in the first font of ``HAN_FONTS`` that is found.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.transforms.post_transforms.images import ImageConverter
from sphinx.util import logging
from sphinx.writers.latex import LaTeXTranslator
from sphinx_exercise.nodes import exercise_enumerable_node, solution_node
from sphinx_jupyterbook_latex.nodes import HiddenCellNode, RootHeader

from rlhf_book.explorer import explorer
from rlhf_book.figure import columns, plotly_figure, shown
from rlhf_book.model_answers import answering_models, records
from rlhf_book.self_check import check_answers, check_choices, check_question, heading, self_check
from rlhf_book.self_check import which as named
from rlhf_lab.figures import THEMES
from rlhf_lab.svg import draw

logger = logging.getLogger(__name__)

_ = get_translation("rlhf_book")

WIDGET = "application/vnd.jupyter.widget-view+json"
FIGURES = "figures"  # below the folder of the LaTeX sources
HEADS = {"rl-ledger-label", "rl-verdict"}  # classes of what a row of a long table begins with
CONVERTER = "rsvg-convert"
NO_CONVERTER = f"{CONVERTER} was not found; on Debian: apt-get install librsvg2-bin"
HAN_FONTS = ("Noto Serif CJK SC", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "AR PL UMing CN")
# Runs of Chinese characters with their punctuation.
_HAN = re.compile(r"[\u2e80-\u9fff\uff00-\uffef]+")

FONTS = r"""
\setmainfont{FreeSerif}
\setsansfont{FreeSans}
\setmonofont{DejaVu Sans Mono}[Scale=0.8]
"""

# Code of cells and their output are told apart by the colour of the frame and by an indent, tables
# are set small, and a drawing stays with its title.
PREAMBLE = r"""
\usepackage{unicode-math}
\usepackage{changepage}
\hypersetup{pdfencoding=auto,psdextra}
\fvset{fontsize=\small}
\definecolor{rlinput}{RGB}{247,247,247}
\definecolor{rlborder}{RGB}{204,204,204}
\definecolor{rloutput}{RGB}{255,255,255}
\newenvironment{sphinxVerbatimInput}
  {\colorlet{VerbatimBorderColor}{rlborder}\colorlet{VerbatimColor}{rlinput}}{}
\newenvironment{sphinxVerbatimOutput}
  {\colorlet{VerbatimBorderColor}{rlborder}\colorlet{VerbatimColor}{rloutput}%
   \begin{adjustwidth}{1em}{}}{\end{adjustwidth}}
\renewcommand{\sphinxtablecontinued}[1]{}
\makeatletter
\newcolumntype{\X}[2]{>{\raggedright\arraybackslash}p{\dimexpr
  (\linewidth-\spx@arrayrulewidth)*#1/#2-\tw@\tabcolsep-\spx@arrayrulewidth\relax}}
\makeatother
\newcolumntype{T}{L}
\AtBeginEnvironment{sphinxtheindex}{\raggedright}
\AtBeginDocument{\renewcommand{\setminus}{\mathbin{\backslash}}}
\newenvironment{rldrawing}
  {\par\medskip\noindent\begin{minipage}{\linewidth}\bfseries\raggedright}
  {\end{minipage}\par\medskip}
\newcommand{\rlpicture}[1]{\par\smallskip\noindent\mdseries
  \includegraphics[width=\linewidth,height=.7\textheight,keepaspectratio]{#1}\par}
"""


def han_macro(fonts: Sequence[str]) -> str:
    r"""Definition of ``\rlhan``: the first font that is there, or a mark and a warning."""
    last = (
        r"\PackageWarningNoLine{rlhf_book}{No font with Chinese characters (on Debian: "
        r"fonts-noto-cjk): they are left out}\newcommand{\rlhan}[1]{[\,\ldots\,]}"
    )
    for font in reversed(fonts):
        found = (
            rf"\newfontfamily\rlhanfont{{{font}}}"
            r'\newcommand{\rlhan}[1]{{\rlhanfont\XeTeXlinebreaklocale "zh" #1}}'
        )
        last = f"\\IfFontExistsTF{{{font}}}{{%\n{found}}}{{%\n{last}}}"
    return f"{last}\n"


class printed_drawing(nodes.General, nodes.Element):  # noqa: N801 - docutils names nodes so
    """A still drawing: ``file`` from the folder of the sources; its child is the title."""


class PrintTranslator(LaTeXTranslator):
    """Sphinx's, with a font for Chinese characters, in entries of the index as well."""

    def encode(self, text: str) -> str:
        """Text for LaTeX."""
        return _HAN.sub(r"\\rlhan{\g<0>}", super().encode(text))


def visit_drawing(translator: LaTeXTranslator, _node: printed_drawing) -> None:
    translator.body.append("\n\\begin{rldrawing}")


def depart_drawing(translator: LaTeXTranslator, node: printed_drawing) -> None:
    translator.body.append(f"\\rlpicture{{{node['file']}}}\n\\end{{rldrawing}}\n")


class StillDrawings(SphinxPostTransform):
    """Puts a picture, a table or a list in the place of everything that is drawn by a script."""

    default_priority = 6
    formats = ("latex",)

    def run(self, **_kwargs: Any) -> None:
        """Every drawing of the document."""
        for node in list(self.document.findall(plotly_figure)):
            node.replace_self(self.picture(node, node["figure"]))
        for node in list(self.document.findall(answering_models)):
            rows = records(node["given"]["labels"], node["given"]["data"])
            node.replace_self([titled(node), *small([table(rows)]), self.live(node)])
        for node in list(self.document.findall(explorer)):
            node.replace_self([*self.still(node), self.live(node)])

    def still(self, node: explorer) -> list[nodes.Node]:
        """An explorer without its script."""
        if not node["plain"]:
            return [self.picture(node, node["still"])]
        if "records" in node:
            return [titled(node), *small([table(node["records"])])]
        return [titled(node), entries(node["given"]["labels"], node["given"]["data"])]

    def picture(self, node: nodes.Element, figure: Mapping[str, Any]) -> printed_drawing:
        """The still drawing as a file beside the sources."""
        text = standalone(draw(dict(figure)))
        name = f"{FIGURES}/{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        path = Path(self.app.outdir) / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return printed_drawing("", nodes.paragraph("", node["title"]), file=f"{name}.pdf")

    def live(self, node: nodes.Element) -> nodes.paragraph:
        """Where a reader finds the drawing that answers."""
        page = page_of(self.env, node)
        site = str(self.config.html_baseurl).rstrip("/")
        text = _("On the site, the page “{title}” has this drawing with its controls.")
        line = nodes.paragraph("", text.format(title=self.env.titles[page].astext()))
        if site:
            address = f"{site}/{page}.html"
            line += [nodes.Text(" "), nodes.reference("", address, refuri=address)]
        return line


class NoWidgets(SphinxPostTransform):
    """Drops outputs that a notebook shows as a widget, as bars of progress are."""

    default_priority = 3  # before myst-nb takes the plain text that stands for them
    formats = ("latex",)

    def run(self, **_kwargs: Any) -> None:
        """Every output of the document."""
        for bundle in list(self.document.findall(nodes.container)):
            if any(child.get("mime_type") == WIDGET for child in bundle.children):
                bundle.parent.remove(bundle)


class Answers(SphinxPostTransform):
    """Puts solutions, and the answers of self-checks, at the end of their chapter."""

    default_priority = 7
    formats = ("latex",)

    def run(self, **_kwargs: Any) -> None:
        """Every chapter of the document."""
        found: dict[nodes.Element, list[nodes.Node]] = {}
        for node in list(self.document.findall(solution_node)):
            found.setdefault(chapter_of(node), []).append(node)
            node.parent.remove(node)
        for chapter, solutions in found.items():
            chapter += [nodes.rubric("", _("Solutions")), *small(solutions)]
        found = {}
        for node in list(self.document.findall(self_check)):
            found.setdefault(chapter_of(node), []).extend(answers(node))
            node.replace_self(question(node))
        for chapter, said in found.items():
            chapter += [nodes.rubric("", _("Answers to the questions")), *small(said)]


class FileLinks(SphinxPostTransform):
    """Links to files of the site lead nowhere from a PDF: there the file is named."""

    default_priority = 8
    formats = ("latex",)

    def run(self, **_kwargs: Any) -> None:
        """Every link that is no address and leads to no place of the book."""
        site = str(self.config.html_baseurl).rstrip("/")
        for link in list(self.document.findall(nodes.reference)):
            address = link.get("refuri", "")
            if link.get("internal") or not address or address[0] in "#%":
                continue
            if urlsplit(address).scheme:
                continue
            page = page_of(self.env, link)
            file = posixpath.normpath(posixpath.join(posixpath.dirname(page), address))
            if site:
                link["refuri"] = f"{site}/{file}"
            else:
                named = [nodes.Text(" ("), nodes.literal("", file), nodes.Text(")")]
                link.replace_self([*link.children, *named])


class Tables(SphinxPostTransform):
    """Heads of rows in bold, and no heading at the foot of a page whose table begins the next."""

    default_priority = 9
    formats = ("latex",)

    def run(self, **_kwargs: Any) -> None:
        """Every table of the document."""
        for head in list(self.document.findall(nodes.paragraph)):
            if HEADS.intersection(head["classes"]):
                head.children, words = [], head.children
                head += nodes.strong("", "", *words)
        for table in list(self.document.findall(nodes.table)):
            for entry in table.findall(nodes.entry):
                if not entry.astext() and not any(entry.findall(nodes.image)):
                    entry.children = []  # an empty paragraph would take two lines
            section = table.parent
            if "longtable" not in table["classes"] or not isinstance(section, nodes.section):
                continue
            if section.index(table) == 1:
                space = nodes.raw("", "\n\\needspace{18\\baselineskip}\n", format="latex")
                section.parent.insert(section.parent.index(section), space)


class ExerciseLinks(SphinxPostTransform):
    """Makes links to exercises say their numbers: LaTeX would count sections in their place."""

    default_priority = 15  # after the links are resolved, before sphinx-exercise looks at them
    formats = ("latex",)

    def run(self, **_kwargs: Any) -> None:
        """A place for every exercise, and the links to it."""
        titles = {}
        for exercise in list(self.document.findall(exercise_enumerable_node)):
            page, (name, *_more) = page_of(self.env, exercise), exercise["ids"]
            number = ".".join(map(str, self.env.toc_fignumbers[page]["exercise"][name]))
            titles[page, name] = self.config.numfig_format["exercise"] % number
            label = rf"\phantomsection\label{{\detokenize{{{page}:{name}}}}}"
            place = exercise.parent.index(exercise)
            exercise.parent.insert(place, nodes.raw("", label, format="latex"))
        for link in list(self.document.findall(addnodes.number_reference)):
            page, _hash, name = link.get("refuri", "").removeprefix("%").partition("#")
            page, name = (page, name) if name else (page_of(self.env, link), link.get("refid"))
            if (page, name) in titles:
                text = titles[page, name]
                to = {"refuri": f"%{page}#{name}", "internal": True}
                link.replace_self(nodes.reference("", text, **to))


class FirstPage(SphinxPostTransform):
    """A heading for the first page, and none there for the table of contents."""

    default_priority = 750  # after sphinx-jupyterbook-latex has taken the page apart
    formats = ("latex",)

    def run(self, **_kwargs: Any) -> None:
        """The first page stands before all parts."""
        first = next(self.document.findall(nodes.section))
        name = _("About this book")
        text = f"\\chapter*{{{name}}}\\markboth{{{name}}}{{{name}}}\n"
        first.insert(1, nodes.raw("", text, format="latex"))  # after its title, which is the book's
        for header in list(self.document.findall(RootHeader)):
            after = header.parent.children[header.parent.index(header) + 1 :]
            said = next((node for node in after if not isinstance(node, HiddenCellNode)), None)
            if said is None or isinstance(said, RootHeader):
                header.parent.remove(header)


class StillImages(ImageConverter):
    """Sphinx's way to convert images that LaTeX cannot place, by the converter of the drawings."""

    conversion_rules = [("image/svg+xml", "application/pdf")]  # noqa: RUF012 - so in the base

    def is_available(self) -> bool:
        """Whether the converter is installed; its absence is said once, for all pictures."""
        return shutil.which(CONVERTER) is not None

    def convert(self, source: str, target: str) -> bool:
        """Convert a file."""
        return to_pdf(Path(source), Path(target))


def standalone(drawing: str) -> str:
    """A drawing of :mod:`rlhf_lab.svg` as a file of its own, in light colours."""
    size = re.search(r'viewBox="([^"]+)" width="(\d+)" height="(\d+)"', drawing)
    assert size is not None
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size[1]}" width="{size[2]}" '
        f'height="{size[3]}" color="{escape(THEMES["light"].text)}">{drawing}</svg>\n'
    )


def to_pdf(source: Path, target: Path) -> bool:
    """Convert an SVG file; a failure is a warning, and leaves no half of a picture."""
    part = target.with_suffix(".part")
    command = [CONVERTER, "--format", "pdf", "--output", str(part), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        logger.warning(f"{source.name}: {done.stderr.strip()}", type="rlhf", subtype="latex")
        part.unlink(missing_ok=True)
        return False
    part.replace(target)
    return True


def convert_drawings(app: Sphinx, exception: Exception | None) -> None:
    """Make PDF of all drawings of a LaTeX build that went through."""
    if exception is not None or app.builder.format != "latex":
        return
    sources = sorted(Path(app.outdir, FIGURES).glob("*.svg"))
    if sources and shutil.which(CONVERTER) is None:
        logger.warning(NO_CONVERTER, type="rlhf", subtype="latex")
        return
    for source in sources:
        target = source.with_suffix(".pdf")
        if not target.is_file():  # its name says what is drawn
            to_pdf(source, target)


def path_up(node: nodes.Node) -> Iterator[nodes.Element]:
    """What a node stands in, from the inside to the page's own document.

    Sphinx puts the children of all documents into one, and leaves them their parents.
    """
    while node.parent is not None:
        node = node.parent
        yield node


def page_of(env: BuildEnvironment, node: nodes.Node) -> str:
    """The document that a node of the assembled book came from."""
    *_between, document = path_up(node)
    return str(env.path2doc(document["source"]))


def chapter_of(node: nodes.Node) -> nodes.Element:
    """The outermost section of the document that a node came from."""
    *_between, chapter, _document = path_up(node)
    return chapter


def small(content: Iterable[nodes.Node]) -> list[nodes.Node]:
    """Content in smaller type."""
    begin = nodes.raw("", "\n\\begingroup\\small\n", format="latex")
    return [begin, *content, nodes.raw("", "\n\\endgroup\n", format="latex")]


def titled(node: nodes.Element) -> nodes.paragraph:
    """The title of a drawing whose place a table or a list takes."""
    return nodes.paragraph("", "", nodes.strong("", node["title"]))


def question(node: self_check) -> list[nodes.Node]:
    """A question with its choices by letters."""
    found: list[nodes.Node] = []
    for child in node.children:
        if isinstance(child, check_question):
            name = nodes.strong("", f"{heading(node)}.")
            found.append(nodes.paragraph("", "", name, nodes.Text(" "), *copies(child)))
            if node["kind"] == "several":
                found[-1] += nodes.Text(f" {node['labels']['several']}")
        elif isinstance(child, check_choices):
            if child.children:
                items = [
                    nodes.list_item("", nodes.paragraph("", "", *copies(choice)))
                    for choice in child.children
                ]
                kind = {"enumtype": "upperalpha", "prefix": "", "suffix": "."}
                found.append(nodes.enumerated_list("", *items, **kind))
        elif not isinstance(child, check_answers):
            found.append(child.deepcopy())
    return found


def answers(node: self_check) -> Iterator[nodes.Node]:
    """What is said about each choice of a question."""
    yield nodes.paragraph("", "", nodes.strong("", heading(node)))
    for answer in next(node.findall(check_answers)).children:
        first, *more = copies(answer)
        name = nodes.emphasis("", f"{named(answer)}. ")
        if isinstance(first, nodes.paragraph):
            first.insert(0, name)
            yield first
        else:
            yield nodes.paragraph("", "", name)
            yield first
        yield from more


def copies(node: nodes.Element) -> list[nodes.Node]:
    return [child.deepcopy() for child in node.children]


def table(rows: list[dict[str, Any]]) -> nodes.table:
    """Records as a table as wide as the text; columns are as wide as what they hold asks for."""
    names = columns(rows)
    texts = [names, *([shown(row.get(name)) for name in names] for row in rows)]
    group = nodes.tgroup(cols=len(names))
    for column in zip(*texts, strict=True):
        words = max(len(word) for text in column for word in text.split() or [""])
        longest = max(map(len, column))
        group += nodes.colspec(colwidth=max(words, min(longest, 40)) + 2)
    head, *body = [
        nodes.row("", *(nodes.entry("", nodes.paragraph("", text)) for text in line))
        for line in texts
    ]
    group += [nodes.thead("", head), nodes.tbody("", *body)]
    return nodes.table("", group, classes=["colwidths-given", "longtable"])


def entries(labels: Mapping[str, str], data: Mapping[str, Any]) -> nodes.bullet_list:
    """The lineage as a list: each entry with its facts, what is said of it and its descent."""
    names = {entry["id"]: entry["name"] for entry in data["entries"]}

    def cited(ground: Mapping[str, str]) -> str:
        more = [ground["at"], labels["not_seen"] if ground["tag"] == "K" else ""]
        parts = [data["sources"][ground["source"]]["text"], *filter(None, more)]
        return f"({', '.join(parts)})"

    found = nodes.bullet_list()
    for entry in data["entries"]:
        ideas = ", ".join(labels[f"idea_{idea}"] for idea in entry["ideas"])
        facts = [
            f"{labels['fact_' + fact['name']]}: {fact['text']} {cited(fact)}"
            for fact in entry["facts"]
        ]
        said = [(ground, ground["text"]) for ground in entry["says"]]
        said += [
            (ground, f"{labels['of_' + ground['of']]} {names[ground['id']]}")
            for ground in entry["from"]
        ]
        sentences = nodes.bullet_list()
        for ground, text in said:
            kind = nodes.emphasis("", labels[f"evidence_{ground['kind']}"])
            line = nodes.paragraph("", "", kind, nodes.Text(f": {text} {cited(ground)}"))
            sentences += nodes.list_item("", line)
        kind = labels[f"kind_{entry['kind']}"]
        found += nodes.list_item(
            "",
            nodes.paragraph(
                "", "", nodes.strong("", entry["name"]), nodes.Text(f" · {kind} · {ideas}")
            ),
            nodes.paragraph("", "; ".join(facts) or labels["undated"]),
            sentences,
        )
    return found


TRANSFORMS = (
    NoWidgets, StillDrawings, Answers, FileLinks, Tables, ExerciseLinks, StillImages, FirstPage,
)  # fmt: skip


def configure(_app: Sphinx, config: Config) -> None:
    """Fonts, class and preamble, after sphinx-jupyterbook-latex has set its own.

    Its class needs fonts that only the largest packages of TeX Live have.
    """
    config.latex_theme = "manual"
    config.latex_use_xindy = False  # one more program to install
    config.today_fmt = "%Y-%m-%d"  # as in the footers of the site
    contents = _("Contents")
    config.latex_elements = {
        "papersize": "a4paper",
        "pointsize": "10pt",
        "extraclassoptions": "openany,oneside",
        "fontpkg": FONTS,
        # Sphinx would head it with the name of the first part.
        "tableofcontents": f"\\renewcommand{{\\contentsname}}{{{contents}}}\\sphinxtableofcontents",
        "preamble": f"{PREAMBLE}{han_macro(HAN_FONTS)}",
    }


def set_translator(app: Sphinx) -> None:
    """Take our translator, for LaTeX alone: the theme has its own only where no other is set."""
    if app.builder.format == "latex":
        app.set_translator("latex", PrintTranslator)


def register(app: Sphinx) -> None:
    """Tell Sphinx about the forms for paper."""
    app.add_node(printed_drawing, latex=(visit_drawing, depart_drawing))
    for transform in TRANSFORMS:
        app.add_post_transform(transform)
    app.connect("config-inited", configure, priority=900)
    app.connect("builder-inited", set_translator)
    app.connect("build-finished", convert_drawings)
