"""Self-check questions: what the directive makes of a page's text, and what other formats get."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("myst_nb", reason="needs the extra [book]")

import nbformat
from docutils import nodes
from docutils.core import publish_doctree
from docutils.utils import new_document
from myst_parser.parsers.docutils_ import Parser
from sphinx.util.nodes import extract_messages

from rlhf_lab.errors import InputError
from rlhf_lab.widgets import files

LABELS = files.labels("self-check")
CHOICES = """\
Which *one*?

    code of the question

$x$ and y
: Said of **A**.

z
: Said of B.

  More of it.
"""
NUMBERS = "How much?\n\n−0.5\n: Half.\n\n2\n: Two.\n\nelse\n: No.\n"


@pytest.fixture
def self_check(extension: Any) -> ModuleType:
    return extension("self_check")


@pytest.fixture
def ask(self_check: ModuleType) -> Any:
    """The node of a question that is written as in a page, its number after the last one."""
    count = iter(range(100))

    def parse(text: str, **options: str | None) -> Any:
        extensions = {"myst_enable_extensions": ["deflist", "dollarmath"]}
        content = publish_doctree(text, parser=Parser(), settings_overrides=extensions)
        directive = object.__new__(self_check.SelfCheckDirective)
        directive.options = options
        env = SimpleNamespace(new_serialno=lambda _name: next(count))
        settings = SimpleNamespace(env=env)
        directive.state = SimpleNamespace(document=SimpleNamespace(settings=settings))
        return directive.question(content, LABELS)

    return parse


def said(node: Any) -> list[tuple[str, bool, float | None, str]]:
    return [(a["name"], a["right"], a["value"], a.astext()) for a in node.children[-1]]


def test_choices_and_what_is_said_of_them(ask: Any) -> None:
    node = ask(CHOICES, right="2")
    assert (node["kind"], node["number"], ask(CHOICES, right="1")["number"]) == ("single", 1, 2)
    question, code, choices, _ = node.children
    assert question.astext() == "Which one?"
    assert code.astext().strip() == "code of the question"
    assert [(c["name"], c.astext()) for c in choices] == [("A", "x and y"), ("B", "z")]
    assert said(node) == [
        ("A", False, None, "Said of A."), ("B", True, None, "Said of B.\n\nMore of it."),
    ]  # fmt: skip
    several = ask(CHOICES, right="1, 2", several=None)
    assert several["kind"] == "several"
    assert [right for _, right, _, _ in said(several)] == [True, True]


def test_numbers_with_feedback_of_their_own(ask: Any) -> None:
    node = ask(NUMBERS, tolerance="0.1")
    assert (node["kind"], node["tolerance"]) == ("number", 0.1)
    assert said(node) == [
        ("−0.5", True, -0.5, "Half."), ("2", False, 2.0, "Two."), ("else", False, None, "No."),
    ]  # fmt: skip
    assert not node.children[-2].children  # nothing to choose from


@pytest.mark.parametrize(
    ("text", "options", "argument"),
    [
        ("", {"right": "1"}, "content"),
        ("Only a question?", {"right": "1"}, "content"),
        ("a\n: b\n\nc\n: d", {"right": "1"}, "content"),
        (CHOICES + "\nText after it.", {"right": "1"}, "content"),
        ("Which?\n\na\n: b", {"right": "1"}, "choices"),
        (CHOICES, {}, ":right:"),
        (CHOICES, {"right": "0"}, ":right:"),
        (CHOICES, {"right": "3"}, ":right:"),
        (CHOICES, {"right": "1, 2"}, ":right:"),
        (CHOICES, {"right": "1, 1", "several": None}, ":right:"),
        (CHOICES, {"right": "A"}, ":right:"),
        (NUMBERS, {"right": "1", "tolerance": "1"}, ":tolerance:"),
        (NUMBERS, {"tolerance": "little"}, ":tolerance:"),
        (NUMBERS, {"tolerance": "nan"}, ":tolerance:"),
        (NUMBERS, {"tolerance": "1.25"}, "choice"),  # 0.75 would be near both
        (CHOICES, {"tolerance": "0.1"}, "last choice"),
        (NUMBERS.replace("2", "two"), {"tolerance": "0.1"}, "choice"),
    ],
)
def test_a_question_without_an_answer_is_refused(
    ask: Any, text: str, options: dict[str, str | None], argument: str
) -> None:
    with pytest.raises(InputError, match=rf"^{argument}"):
        ask(text, **options)


def test_all_text_is_translatable_and_no_number_is(ask: Any) -> None:
    document = new_document("page.md")
    document += [ask(CHOICES, right="2"), ask(NUMBERS, tolerance="0.1")]
    for node in document.findall(nodes.Element):
        node.source = node.source or "page.md"
    found = [message for _, message in extract_messages(document)]
    assert found == [
        "Which *one*?", "$x$ and y", "z", "Said of **A**.", "Said of B.", "More of it.",
        "How much?", "Half.", "Two.", "No.",
    ]  # fmt: skip


def test_other_formats_get_paragraphs(ask: Any, self_check: ModuleType) -> None:
    class Words(nodes.NodeVisitor):
        heard: list[str]

        def unknown_visit(self, node: nodes.Node) -> None:
            if isinstance(node, nodes.Text):
                self.heard.append(str(node))
            elif type(node).__name__.startswith(("self_check", "check_")):
                self_check.write_plain(self, node)

        def unknown_departure(self, node: nodes.Node) -> None:
            pass

    words = Words(new_document("page.md"))
    words.heard = []
    ask(CHOICES.replace("    code of the question\n\n", ""), right="2").walkabout(words)
    heard = re.sub(r"\s+", " ", " ".join(words.heard))
    assert heard == (
        "Question 1. Which one ? A x and y B z "
        "A: not right Said of A . B: right Said of B. More of it."
    )


def test_the_labels_are_those_of_the_catalogue(self_check: ModuleType) -> None:
    """No text in the code, and no label that nothing shows."""
    root = Path(__file__).parents[2] / "book"
    script = (root / "_static/self-check.js").read_text(encoding="utf-8")
    spoken = set(re.findall(r"labels\.(\w+)", script))
    assert spoken == set(self_check.SPOKEN)
    code = "".join(
        (root / "_ext/rlhf_book" / name).read_text(encoding="utf-8")
        for name in ("self_check.py", "markdown.py")
    )
    quoted = set(re.findall(r'"(\w+)"', code))
    catalogue = json.loads((files.STATIC / "labels/en.json").read_text(encoding="utf-8"))
    assert catalogue["self-check"].keys() <= spoken | quoted


# --- the small book ---------------------------------------------------------------------------


def test_a_glued_number_is_the_answer(small_site: Path) -> None:
    page = (small_site / "book/chapter.html").read_text(encoding="utf-8")
    assert 'data-tolerance="0.05"' in page
    assert 'data-right="true" data-value="2.5"' in page
    assert "self-check.js" in page
    assert "self-check.js" not in (small_site / "book/words.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "expected",
    [
        "**Question 1.** What is the *best* score?\n\n<details>\n<summary><b>Answers</b></summary>"
        "\n\n**2.5: right**\n\nIt is that of $\\pi$.\n\n**Any other number: not right**\n\n"
        "Look again.\n\n</details>",
        "**Question 2.** Which are three?\n\nChoose all that apply.\n\n- **A** $1 + 2$ steps\n"
        "- **B** The number of SFT, RM and PPO\n- **C** Four \\| five\n\n<details>",
        "**B: right**\n\nOf the steps.\n\n**C: not right**\n\nNo.\n\n</details>",
    ],
)
def test_a_notebook_has_the_answers_folded(small_site: Path, expected: str) -> None:
    notebook = nbformat.read(small_site / "notebooks/book/chapter.ipynb", as_version=4)
    text = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert expected in text
