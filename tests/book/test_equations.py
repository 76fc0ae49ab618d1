"""Every equation of the book names its code, and all such code its equation."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import rlhf_lab

pytest.importorskip("myst_nb", reason="needs the extra [book]")

BOOK = Path(__file__).parents[2] / "book"
LABEL = re.compile(r"^```\{math\}\n:label: (\S+)$", re.MULTILINE)
QUOTED = re.compile(r"``(eq-[a-z0-9-]+)``")


@pytest.fixture
def equations(extension: Any) -> ModuleType:
    return extension("equations")


def labels_of_the_book() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in BOOK.rglob("*.md"):
        for label in LABEL.findall(path.read_text(encoding="utf-8")):
            assert label not in found, f"{label} in {found.get(label)} and {path}"
            found[label] = path
    return found


def labels_of_the_code() -> dict[str, list[str]]:
    """By importing, where the extension parses: functions, classes and methods of each module."""
    found: dict[str, list[str]] = {}

    def look(thing: Any, name: str) -> None:
        for label in QUOTED.findall(inspect.getdoc(thing) or ""):
            found.setdefault(label, []).append(name)

    for info in pkgutil.walk_packages(rlhf_lab.__path__, "rlhf_lab."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, thing in vars(module).items():
            if getattr(thing, "__module__", None) == info.name and callable(thing):
                look(thing, f"{info.name}.{name}")
                methods = vars(thing).items() if inspect.isclass(thing) else ()
                for method, member in methods:
                    if inspect.isroutine(member) or isinstance(member, property):
                        look(member, f"{info.name}.{name}.{method}")
    return found


def test_no_equation_is_without_code_and_no_code_without_equation() -> None:
    pages, code = labels_of_the_book(), labels_of_the_code()
    assert len(pages) >= 18
    # A step of a derivation, which nothing computes, has a label of another kind.
    assert {label for label in pages if label.startswith("eq-")} == set(code)


def test_the_parsed_map_is_the_imported_one(equations: ModuleType) -> None:
    found = equations.implementers(Path(rlhf_lab.__file__).parent)
    imported = labels_of_the_code()
    assert set(found) == set(imported)
    for label, names in imported.items():
        assert set(names) <= set(found[label])


def test_methods_and_nested_packages_are_parsed(equations: ModuleType, tmp_path: Path) -> None:
    package = tmp_path / "rlhf_lab"
    (package / "inner").mkdir(parents=True)
    (package / "a.py").write_text('"""``eq-module``"""\nclass C:\n  def f(self):\n    "``eq-f``"\n')
    (package / "inner" / "__init__.py").write_text('def g():\n  "``eq-g``, ``eq-g``, ``x``"\n')
    assert equations.implementers(package) == {
        "eq-f": ["rlhf_lab.a.C.f"],
        "eq-g": ["rlhf_lab.inner.g"],
    }


@pytest.mark.parametrize(
    ("labels", "code", "documented", "expected"),
    [
        ({"eq-a": "ch"}, {"eq-a": ["f"]}, {"f": "api"}, []),
        ({"eq-a": "ch"}, {}, {"f": "api"}, [("ch", "no docstring of rlhf_lab names")]),
        ({"eq-a": "ch"}, {"eq-a": ["f"]}, {}, [("ch", "is not in the reference")]),
        ({}, {"eq-a": ["f"]}, {"f": "api"}, [("api", "which no page has")]),
        ({}, {"eq-a": ["f"]}, {}, []),  # a book of other pages
    ],
)
def test_orphans_are_found_on_either_side(
    equations: ModuleType, labels: Any, code: Any, documented: Any, expected: Any
) -> None:
    found = equations.orphans(labels, code, documented)
    assert [page for page, _ in found] == [page for page, _ in expected]
    assert all(part in text for (_, text), (_, part) in zip(found, expected, strict=True))


def test_links_lead_there_and_back(small_site: Path) -> None:
    """Followed as a browser would: each names a file and an id that this file has."""
    page = (small_site / "book" / "index.html").read_text(encoding="utf-8")
    entry = (small_site / "book" / "code.html").read_text(encoding="utf-8")
    for label in ("eq-objective", "eq-ppo-ptx"):
        number = re.search(
            rf'id="equation-{label}">\s*<span class="eqno"><a href="code.html#([^"]+)"', page
        )
        assert number
        assert f'id="{number[1]}"' in entry
        assert re.search(rf'<a class="rl-equation[^>]*href="index.html#equation-{label}"', entry)
    lines = re.findall(r'<p class="rl-equation-code"><a [^>]*href="code.html#([^"]+)"', page)
    assert lines == ["rlhf_lab.ppo.PPOTrainer"] * 2
