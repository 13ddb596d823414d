"""The page of a report in a browser: it shows everything, loads nothing, and runs no script."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path

import optuna

from adbo.cli.main import main

NAME = "<b>study</b></title><script>document.title = 'changed'</script>"
PARAMETER = "<img src='http://127.0.0.1:9/x.png' onerror=\"document.title='changed'\">"

#: Widths of a phone and of a desk.
WIDTHS = (390, 1400)

#: Shows the page in a frame as wide as each screen, and writes what it finds there.
FRAMES = """
<!DOCTYPE html><pre id="found"></pre>
<script>
const all = [];
function look(width, event) {
  const inside = event.target.contentDocument, view = event.target.contentWindow;
  const boxes = [...inside.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect());
  const texts = [...inside.querySelectorAll("svg text")];
  const sizes = texts.map(text => text.getBoundingClientRect().height);
  all.push({
    width: width,
    title: inside.title,
    page: inside.documentElement.scrollWidth,
    svgs: boxes.length,
    narrowest: Math.min(...boxes.map(box => box.width)),
    right: Math.max(...boxes.map(box => box.right)),
    text: Math.min(...sizes),
    loaded: view.performance.getEntriesByType("resource").length,
    scripts: inside.scripts.length,
    images: inside.images.length,
    keyboard: [...inside.querySelectorAll("a, summary, pre")].every(e => e.tabIndex >= 0),
  });
  document.getElementById("found").textContent = JSON.stringify(all);
}
for (const width of WIDTHS) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0`;
  frame.onload = event => look(width, event);
  frame.src = "report.html";
  document.body.append(frame);
}
</script>
""".replace("WIDTHS", str(list(WIDTHS)))


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


def test_a_page_fits_the_screen_and_does_nothing(
    tmp_path: Path, read_page: Callable[..., str]
) -> None:
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    url = f"sqlite:///{tmp_path}/s.db"
    seeded = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(study_name=NAME, storage=url, sampler=seeded)
    study.optimize(_objective, 40, catch=ArithmeticError)
    assert main(["report", "--storage", url, "--html", str(tmp_path / "report.html")]) == 0
    (tmp_path / "frames.html").write_text(FRAMES)
    options = ("--allow-file-access-from-files", "--hide-scrollbars", "--virtual-time-budget=999")
    text = read_page(f"file://{tmp_path}/frames.html", *options)
    found = {of["width"]: of for of in json.loads(html.unescape(text))}
    assert set(found) == set(WIDTHS)
    for width, of in found.items():
        assert of["title"] == NAME
        assert of["page"] == width
        assert of["svgs"] >= 9
        assert of["narrowest"] > 330
        assert of["right"] <= width
        assert of["text"] > 9
        assert (of["loaded"], of["scripts"], of["images"]) == (0, 0, 0)
        assert of["keyboard"]
