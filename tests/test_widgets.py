"""Drawings that answer: their files and Python hosts. What they draw: tests/browser."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.figures import THEMES
from rlhf_lab.widgets import chooser, files, lineage, model_facts, ppo_clip


def test_the_widget_loads_the_modules_of_the_page() -> None:
    pytest.importorskip("anywidget", reason="needs the extra [labs]")
    from rlhf_lab.widgets.live import PPOClipExplorer

    widget = PPOClipExplorer(epsilon=0.1)
    text = str(widget._esm)
    for name in ("kit.js", "ppo-clip.js"):
        source = (files.STATIC / name).read_text(encoding="utf-8")
        assert source.split('"./kit.js";\n')[-1] in text
    assert "export default" in text
    assert "--rl-series-1: #0072b2" in str(widget._css)
    assert (widget.ratio, widget.epsilon, widget.advantage) == (1.35, 0.1, 1.0)
    assert widget.get_state(["names", "language"]) == {
        "names": ["ratio", "epsilon", "advantage"],
        "language": "en",
    }


def test_a_drawing_needs_neither_jupyter_nor_torch() -> None:
    code = "import sys, rlhf_lab.widgets.ppo_clip; print({'anywidget', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", files.DRAWINGS)
def test_a_bundle_has_each_module_once_and_imports_nothing(name: str) -> None:
    text = files.bundle(f"{name}.js", "notebook.js")
    assert text.count("export function slider(") == 1
    assert not re.search(r"^import\b", text, re.MULTILINE)
    assert text.index("export function slider(") < text.index("export function render(")
    names = re.findall(r"^(?:export )?(?:const|let|function) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names))


def test_every_module_that_is_imported_is_published() -> None:
    for name in files.MODULES:
        source = (files.STATIC / name).read_text(encoding="utf-8")
        assert set(re.findall(r'from "\./([\w-]+\.js)"', source)) <= set(files.MODULES)
    assert f"{ppo_clip.NAME}.js" in files.MODULES


def test_labels_in_the_code_are_those_of_the_catalogue() -> None:
    """No text in the code, and no label that nothing shows."""
    catalogue = files.labels("ppo-clip")
    source = "".join(
        (files.STATIC / name).read_text(encoding="utf-8") for name in ("ppo-clip.js", "kit.js")
    )
    used = set(re.findall(r"labels\.(\w+)", source))
    assert used <= catalogue.keys()
    assert catalogue.keys() - used == {
        "title", "alt", "still",  # the page's
        "ratio", "epsilon", "advantage", "plain", "clipped", "gradient", "value",  # by name
        "ratio_spoken", "epsilon_spoken", "advantage_spoken", "pull_none", "pull_some",
        "verdict_nothing",
        *(f"verdict_{sign}_{place}" for sign in ("good", "bad")
          for place in ("above", "inside", "below")),
    } - used  # fmt: skip


def test_labels_of_the_drawings_of_published_data() -> None:
    page = {"title", "alt", "still", "still_x", "still_y"}
    catalogue = files.labels("ranking")
    source = (files.STATIC / "ranking.js").read_text(encoding="utf-8")
    assert set(re.findall(r"labels\.(\w+)", source)) == catalogue.keys() - page

    catalogue = files.labels("token-inspector")
    source = (files.STATIC / "token-inspector.js").read_text(encoding="utf-8")
    lists = re.findall(r"const (QUANTITIES|POLICIES|TRAINING) = \[([^\]]*)\]", source)
    names = {list_name: re.findall(r'"(\w+)"', text) for list_name, text in lists}
    by_name = {*names["QUANTITIES"], *(f"{name}_axis" for name in names["QUANTITIES"])}
    by_name |= {f"number_{name}" for name in names["POLICIES"] + names["TRAINING"]}
    used = set(re.findall(r"labels\.(\w+)", source))
    assert used | by_name == catalogue.keys() - page


def test_labels_of_the_beta_gamma_explorer() -> None:
    catalogue = files.labels("beta-gamma")
    parts = ("beta-gamma.js", "beta-gamma-charts.js", "kit.js")
    source = "".join((files.STATIC / name).read_text(encoding="utf-8") for name in parts)
    used = set(re.findall(r"labels\.(\w+)", source))
    measures = re.search(r"const MEASURES = \[([^\]]*)\]", source)[1]
    views = re.search(r"const VIEWS = \[([^\]]*)\]", source)[1]
    names = {"measure": re.findall(r'"(\w+)"', measures), "view": re.findall(r'"(\w+)"', views)}
    by_name = {f"{kind}_{name}" for name in names["measure"] for kind in ("m", "t", "u")}
    by_name |= {f"{kind}_{name}" for name in names["view"] for kind in ("view", "note")}
    by_name |= {f"chart_{name}" for name in names["view"] if name != "answers"}
    by_name |= set(re.findall(r'"(finding_\w+)"', source))
    by_name |= {f"train_{name}" for name in
                ("idle", "running", "preparing", "done", "cancelled", "failed")}  # fmt: skip
    by_name |= {f"stage_{name}" for name in ("start", "sft", "rm", "ppo", "evaluation")}
    by_name |= {"beta", "gamma", "short_beta", "short_gamma"}
    by_name |= {f"file_{name}" for name in ("manifest", "runs", "curves")}
    page = {"title", "alt", "still"}
    assert used | by_name == catalogue.keys() - page


def test_labels_of_the_over_optimisation_explorer() -> None:
    catalogue = files.labels("over-optimisation")
    source = (files.STATIC / "over-optimisation.js").read_text(encoding="utf-8")
    used = set(re.findall(r"labels\.(\w+)", source))
    used |= set(re.findall(r'"(finding_\w+)"', source))
    used |= {f"method_{name}" for name in ("rl", "bon")} | {"m_proxy", "m_gold"}
    used |= {f"model_{name}" for name in ("ranked", "shortened", "examiner")}
    used |= {f"read_{name}" for name in ("proxy", "gold", "peak")}
    assert used == catalogue.keys() - {"title", "alt", "still"}


def test_labels_of_the_drawings_of_model_facts() -> None:
    page = {"title", "alt", "still", "show_data", "download_csv"}
    catalogue = files.labels("lineage")
    sources = {
        name: (files.STATIC / f"{name}.js").read_text(encoding="utf-8")
        for name in ("lineage", "chooser")
    }
    used = set(re.findall(r"labels\.(\w+)", sources["lineage"]))
    used |= {f"idea_{name}" for name in model_facts.IDEAS}
    used |= {f"{kind}_{name}" for name in model_facts.EVIDENCE for kind in ("evidence", "explain")}
    used |= {f"kind_{name}" for name in model_facts.KINDS}
    used |= {f"of_{name}" for name in model_facts.RELATIONS}
    used |= {f"fact_{name}" for name in lineage.LISTED} | {"idea", "evidence", "explain_all"}
    assert used == catalogue.keys() - page

    catalogue = files.labels("chooser")
    used = set(re.findall(r"labels\.(\w+)", sources["chooser"]))
    used |= {f"{kind}_{name}" for name in chooser.ERRORS for kind in ("error", "capability")}
    used |= {f"measure_{name}" for name in chooser.ERRORS.values() if name}
    used |= {f"part_{name}" for name in ("need", "capability", "cost", "risk")}
    used |= {*chooser.STOPS, "fails_images", "fails_context", "not_yet"}
    used |= {name for name in catalogue if name.startswith("column_")}  # the page's table
    assert used == catalogue.keys() - page


def test_the_widgets_of_model_facts() -> None:
    pytest.importorskip("anywidget", reason="needs the extra [labs]")
    from rlhf_lab.widgets.live import LineageTimeline, ModelChooser

    path = Path(__file__).parent.parent / "book/data/models.yaml"
    timeline = LineageTimeline(path)
    assert (timeline.idea, timeline.evidence, timeline.entry) == ("all", "all", lineage.FIRST)
    chosen = ModelChooser(path)
    assert {name: getattr(chosen, name) for name in chosen.names} == chooser.FIRST
    assert len(chosen.fixed["models"]) > 12


def test_unknown_languages_and_drawings_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        files.labels("ppo-clip", "tlh")
    assert caught.value.argument == "language"
    with pytest.raises(InputError) as caught:
        files.labels("ppo")
    assert caught.value.argument == "name"
    assert files.language_tag("zh_CN") == "zh-CN"


@pytest.mark.parametrize("values", [{"ratio": 0.0}, {"epsilon": 0.6}, {"advantage": float("nan")}])
def test_values_outside_of_the_sliders_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(InputError) as caught:
        ppo_clip.data(**values)
    assert caught.value.argument in values


def test_the_palette_is_that_of_the_figures() -> None:
    light, dark = files.palette_css().split("}\n")[:2]
    for text, theme in ((light, THEMES["light"]), (dark, THEMES["dark"])):
        found = re.findall(r"--rl-series-\d: (#\w+);", text)
        assert tuple(found) == theme.colorway
        assert f"--rl-text: {theme.text};" in text
    styles = (files.STATIC / "explorer.css").read_text(encoding="utf-8")
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb\(", styles)  # no colour of its own
    used = set(re.findall(r"var\((--rl-[\w-]+)\)", styles))
    known = set(re.findall(r"(--rl-[\w-]+):", light + styles))
    assert used - known == {"--rl-at", "--rl-share"}  # set by the drawings


def test_the_still_drawing_has_the_numbers_of_the_equation() -> None:
    labels = files.labels("ppo-clip")
    records = ppo_clip.still(labels, ppo_clip.data()).layout.meta["data"]
    by_term = {
        name: {
            r[labels["x_axis"]]: r[labels["y_axis"]] for r in records if r["term"] == labels[name]
        }
        for name in ("plain", "clipped", "value")
    }
    assert all(len(values) == 40 for values in by_term.values())
    for ratio, value in by_term["value"].items():
        assert by_term["plain"][ratio] == pytest.approx(ratio, abs=1e-12)
        assert by_term["clipped"][ratio] == pytest.approx(sorted([0.8, ratio, 1.2])[1], abs=1e-12)
        assert value == pytest.approx(min(ratio, 1.2), abs=1e-12)
