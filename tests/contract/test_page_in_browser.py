"""The page of a report in a browser: it shows everything, loads nothing, and runs no script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from adbo.cli.main import main

NAME = "<b>study</b></title><script>document.title = 'changed'</script>"
PARAMETER = "<img src='http://127.0.0.1:9/x.png' onerror=\"document.title='changed'\">"

#: Shows a page in a frame as wide as a screen, and writes what it finds there.
FRAME = """
<!DOCTYPE html><pre id="found"></pre>
<iframe src="report.html" style="width:{width}px;height:900px;border:0"></iframe>
<script>
document.querySelector("iframe").onload = event => {{
  const inside = event.target.contentDocument, view = event.target.contentWindow;
  const boxes = [...inside.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect());
  const texts = [...inside.querySelectorAll("svg text")];
  const sizes = texts.map(text => text.getBoundingClientRect().height);
  document.getElementById("found").textContent = JSON.stringify({{
    title: inside.title,
    page: inside.documentElement.scrollWidth,
    svgs: boxes.length,
    narrowest: Math.min(...boxes.map(box => box.width)),
    widest: Math.max(...boxes.map(box => box.right)),
    text: Math.min(...sizes),
    loaded: view.performance.getEntriesByType("resource").length,
    scripts: inside.scripts.length,
    images: inside.images.length,
    links: [...inside.querySelectorAll("a, summary, pre")].every(e => e.tabIndex >= 0),
  }});
}};
</script>
"""


def _objective(trial: optuna.trial.BaseTrial) -> float:
    x = trial.suggest_float(PARAMETER, -5, 5)
    kind = trial.suggest_categorical("kind", ["a", "<svg onload=alert(1)>"])
    for step in range(4):
        trial.report(abs(x) + 1 / (step + 1), step)
    if x > 3:
        raise optuna.TrialPruned
    if x < -4:
        raise ArithmeticError(PARAMETER)
    return x**2 + (kind == "a")


@pytest.fixture
def see(tmp_path: Path, read_page: Callable[..., str]) -> Callable[[int], dict[str, Any]]:
    """Return a function that says what a browser finds on a page of a given width."""

    def look(width: int) -> dict[str, Any]:
        (tmp_path / "frame.html").write_text(FRAME.format(width=width))
        options = ("--allow-file-access-from-files", "--hide-scrollbars")
        text = read_page(f"file://{tmp_path}/frame.html", *options)
        return dict(json.loads(text.replace("&lt;", "<").replace("&gt;", ">")))

    return look


@pytest.mark.parametrize("width", [390, 1400])
def test_a_page_fits_the_screen_and_does_nothing(
    width: int, tmp_path: Path, see: Callable[[int], dict[str, Any]]
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    study = optuna.create_study(
        study_name=NAME, storage=url, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(_objective, 80, catch=ArithmeticError)
    assert main(["report", "--storage", url, "--html", str(tmp_path / "report.html")]) == 0
    found = see(width)
    assert found["title"] == NAME
    assert found["page"] == width
    assert found["svgs"] >= 9
    assert found["narrowest"] > 330
    assert found["widest"] <= width
    assert found["text"] > 9
    assert (found["loaded"], found["scripts"], found["images"]) == (0, 0, 0)
    assert found["links"]
