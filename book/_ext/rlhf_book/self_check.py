"""The directive ``{self-check}``: a question that answers back, choice by choice.

    ```{self-check}
    :right: 2

    What does a value function guess?

    The reward of the next token
    : That is one term of it.

    The reward still to come
    : From this token on, and under this policy.
    ```

The definition list at the end has a choice and what is said about it. ``:right:`` counts from 1;
``:several:`` asks for all right choices (``:right: 1, 3``). With ``:tolerance: 0.01`` in place of
``:right:`` the reader types a number: the first term is the right one, further terms are numbers
with something of their own to say, and the last, ``else``, is any other. A term may be glued in.

Everything is text of the page, so that it is translated, and terms, citations and mathematics work.
Without scripts and on paper the answers are folded below the question; self-check.js asks, and
sends and keeps nothing.
"""

from __future__ import annotations

import html
import json
import math
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from rlhf_lab.errors import InputError
from rlhf_lab.widgets import files

NAME = "self-check"
ELSE = "else"
KINDS = {"single": "radio", "several": "checkbox", "number": "text"}  # to the type of the input
SPOKEN = ("right", "wrong", "score", "choose_first", "no_number")  # by the script


class self_check(nodes.General, nodes.Element):  # noqa: N801 - docutils names nodes so
    """A question: ``kind``, ``number`` on its page, ``labels``; ``tolerance`` of a number.

    Its children are a question, further blocks, choices and answers.
    """


class check_question(nodes.TextElement):  # noqa: N801
    """The question's first paragraph."""


class check_choices(nodes.Element):  # noqa: N801
    """The choices in their order; none where a number is asked for."""


class check_choice(nodes.TextElement):  # noqa: N801
    """One of them: ``name``, a letter."""


class check_answers(nodes.Element):  # noqa: N801
    """What is said about each choice, in the same order."""


class check_answer(nodes.Element):  # noqa: N801
    """The blocks about one choice: ``name`` (letter or number), ``right``, ``value`` or None."""


class SelfCheckDirective(SphinxDirective):
    """The content is the question, then a definition list of choices and feedback."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "right": directives.unchanged_required,
        "several": directives.flag,
        "tolerance": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """The node; a question that cannot be answered is an error."""
        language = self.env.config.language
        self.env.note_dependency(str(files.STATIC / "labels" / f"{language}.json"))
        content = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, content)
        try:
            labels = files.labels(NAME, language)
            node = self.question(content, labels)
        except InputError as error:
            raise self.error(str(error)) from error
        self.set_source_info(node)
        return [node]

    def question(self, content: nodes.Element, labels: dict[str, str]) -> self_check:
        """The node of a question from the parsed content."""
        first, *more, listed = content.children if len(content) > 1 else (None, None)
        if not isinstance(first, nodes.paragraph) or not isinstance(listed, nodes.definition_list):
            got = [type(child).__name__ for child in content]
            allowed = "a paragraph first and a definition list last"
            raise InputError("content", got, allowed, "end it with the choices and their feedback")
        pairs = [pair(item) for item in listed.children]
        if len(pairs) < 2:
            raise InputError("choices", len(pairs), "two or more", "add a choice")
        number = self.env.new_serialno(NAME) + 1
        node = self_check(number=number, labels=labels)
        node += [moved(first, check_question()), *more]
        choices, answers = check_choices(), check_answers()
        if "tolerance" in self.options:
            self.numbers(node, answers, [term.astext() for term, _ in pairs])
        else:
            self.choices(node, answers, len(pairs))
            choices += [
                moved(term, check_choice(name=answer["name"]))
                for (term, _), answer in zip(pairs, answers, strict=True)
            ]
        for answer, (_, definition) in zip(answers, pairs, strict=True):
            answer += definition.children
        node += [choices, answers]
        return node

    def choices(self, node: self_check, answers: check_answers, count: int) -> None:
        """Fill in the kind of the question and which choices are right."""
        node["kind"] = kind = "several" if "several" in self.options else "single"
        text = self.options.get("right", "")
        parts = [part.strip() for part in text.split(",")]
        right = {int(part) for part in parts if part.isdecimal()}
        sound = len(right) == len(parts) and right <= set(range(1, count + 1))
        if not sound or (kind == "single" and len(right) != 1):
            allowed = f"{'numbers' if kind == 'several' else 'one number'} from 1 to {count}"
            raise InputError(":right:", text, allowed, "count the choices from the top")
        answers += [
            check_answer(name=chr(ord("A") + i), right=i + 1 in right, value=None)
            for i in range(count)
        ]

    def numbers(self, node: self_check, answers: check_answers, terms: list[str]) -> None:
        """Fill in the right number, others with feedback of their own, and all the rest."""
        if {"right", "several"} & self.options.keys():
            fix = "leave out :right: and :several:"
            raise InputError(":tolerance:", self.options["tolerance"], "a question of choices", fix)
        node["kind"] = "number"
        node["tolerance"] = tolerance = real(":tolerance:", self.options["tolerance"])
        if terms[-1] != ELSE:
            raise InputError("last choice", terms[-1], ELSE, "say what any other number deserves")
        values = [real("choice", term) for term in terms[:-1]]
        for i, value in enumerate(values):
            near = [other for other in values[:i] if abs(other - value) <= 2 * tolerance]
            if near:
                allowed = f"more than {2 * tolerance:g} away from {near[0]:g}"
                raise InputError("choice", value, allowed, "lower the tolerance")
        answers += [
            check_answer(name=term, right=i == 0, value=value)
            for i, (term, value) in enumerate(zip(terms, [*values, None], strict=True))
        ]


def pair(item: nodes.Node) -> tuple[nodes.term, nodes.definition]:
    """A choice and what is said about it."""
    match item.children:
        case [nodes.term() as term, nodes.definition() as definition]:
            return term, definition
    text = item.astext().splitlines()[0]
    raise InputError("choice", text, "a term and one definition", "add a line that begins ': '")


def real(argument: str, text: str) -> float:
    """A finite number of at least 0 digits, with a true minus sign or a hyphen."""
    try:
        value = float(text.replace("−", "-"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(argument, text, "a number", "write digits, or glue a number in")
    return value


def moved(old: nodes.TextElement, new: nodes.TextElement) -> nodes.TextElement:
    """The children in another element, with what translation needs to find the text."""
    new.rawsource, new.source, new.line = old.rawsource, old.source, old.line
    new += old.children
    return new


# --- HTML -------------------------------------------------------------------------------------


def visit_self_check(translator: HTML5Translator, node: self_check) -> None:
    labels = {name: node["labels"][name] for name in SPOKEN}
    spoken = html.escape(json.dumps(labels, ensure_ascii=False))
    reach = f' data-tolerance="{node["tolerance"]!r}"' if node["kind"] == "number" else ""
    translator.body.append(
        f'<form class="rl-check" id="self-check-{node["number"]}" autocomplete="off" '
        f'data-kind="{node["kind"]}"{reach} data-labels="{spoken}"><fieldset>'
    )


def depart_self_check(translator: HTML5Translator, _node: self_check) -> None:
    translator.body.append("</form>\n")


def visit_check_question(translator: HTML5Translator, node: check_question) -> None:
    name = heading(node.parent)
    translator.body.append(f'<legend><span class="rl-check-name">{html.escape(name)}</span> ')


def depart_check_question(translator: HTML5Translator, _node: check_question) -> None:
    translator.body.append("</legend>\n")


def visit_check_choices(translator: HTML5Translator, node: check_choices) -> None:
    labels = node.parent["labels"]
    if node.parent["kind"] == "several":
        translator.body.append(f'<p class="rl-check-hint">{html.escape(labels["several"])}</p>')
    if node.parent["kind"] == "number":
        translator.body.append(
            f'<label class="rl-check-number">{html.escape(labels["your_number"])} '
            '<input type="text" inputmode="decimal" size="9"></label>'
            '<div class="rl-check-slot" aria-live="polite"></div>'
        )
    else:
        translator.body.append('<ul class="rl-check-choices">')


def depart_check_choices(translator: HTML5Translator, node: check_choices) -> None:
    labels = {key: html.escape(text) for key, text in node.parent["labels"].items()}
    if node.parent["kind"] != "number":
        translator.body.append("</ul>")
    translator.body.append(
        f'<p class="rl-check-bar"><button type="submit">{labels["check"]}</button>'
        f'<button type="button">{labels["show"]}</button><span role="status"></span></p>'
        "</fieldset>\n"
    )


def visit_check_choice(translator: HTML5Translator, node: check_choice) -> None:
    question = node.parent.parent
    kind, name = KINDS[question["kind"]], f"self-check-{question['number']}-choice"
    translator.body.append(
        f'<li><label><input type="{kind}" name="{name}"><span class="rl-check-letter">'
        f'{node["name"]}</span><span class="rl-check-text">'
    )


def depart_check_choice(translator: HTML5Translator, _node: check_choice) -> None:
    slot = '<div class="rl-check-slot" aria-live="polite"></div>'
    translator.body.append(f"</span></label>{slot}</li>\n")


def visit_check_answers(translator: HTML5Translator, node: check_answers) -> None:
    summary = html.escape(node.parent["labels"]["answers"])
    translator.body.append(f'<details class="rl-check-answers"><summary>{summary}</summary>')


def depart_check_answers(translator: HTML5Translator, _node: check_answers) -> None:
    translator.body.append("</details>")


def visit_check_answer(translator: HTML5Translator, node: check_answer) -> None:
    value = "" if node["value"] is None else f' data-value="{node["value"]!r}"'
    translator.body.append(
        f'<div class="rl-check-answer" data-right="{str(node["right"]).lower()}"{value}>'
        f'<p class="rl-check-which">{html.escape(which(node))}</p><div class="rl-check-feedback">'
    )


def depart_check_answer(translator: HTML5Translator, _node: check_answer) -> None:
    translator.body.append("</div></div>\n")


def heading(node: self_check) -> str:
    """The question's name in the reader's language."""
    return str(node["labels"]["question"]).format(number=node["number"])


def which(node: check_answer) -> str:
    """The name of a choice, and whether it is right."""
    labels = node.parent.parent["labels"]
    numeric = node.parent.parent["kind"] == "number"
    name = labels["otherwise"] if numeric and node["value"] is None else node["name"]
    return str(labels["which_right" if node["right"] else "which_wrong"]).format(name=name)


# --- other formats ----------------------------------------------------------------------------


def write_plain(translator: nodes.NodeVisitor, node: nodes.Element) -> None:
    """Paragraphs: question, choices by their letters, answers by theirs."""
    if isinstance(node, check_question | check_choice):
        name = f"{heading(node.parent)}." if isinstance(node, check_question) else node["name"]
        paragraph = nodes.paragraph("", "", nodes.strong("", name), nodes.Text(" "))
        paragraph += [child.deepcopy() for child in node.children]
        paragraph.walkabout(translator)
        raise nodes.SkipNode
    if isinstance(node, check_answer):
        nodes.paragraph("", "", nodes.strong("", which(node))).walkabout(translator)


def leave(_translator: nodes.NodeVisitor, _node: nodes.Element) -> None:
    """Nothing to close."""


PLAIN = (write_plain, leave)


def add_files(
    app: Sphinx,
    _pagename: str,
    _templatename: str,
    _context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Load script and styles on pages that have a question."""
    if doctree is not None and any(doctree.findall(self_check)):
        app.add_js_file("self-check.js", loading_method="defer")
        app.add_css_file("self-check.css")


def register(app: Sphinx) -> None:
    """Tell Sphinx about the directive."""
    others: dict[str, Any] = dict.fromkeys(("text", "man", "texinfo"), PLAIN)
    app.add_node(self_check, html=(visit_self_check, depart_self_check), **others)
    app.add_node(check_question, html=(visit_check_question, depart_check_question), **others)
    app.add_node(check_choices, html=(visit_check_choices, depart_check_choices), **others)
    app.add_node(check_choice, html=(visit_check_choice, depart_check_choice), **others)
    app.add_node(check_answers, html=(visit_check_answers, depart_check_answers), **others)
    app.add_node(check_answer, html=(visit_check_answer, depart_check_answer), **others)
    app.add_directive(NAME, SelfCheckDirective)
    app.connect("html-page-context", add_files)
