"""The page of a study: the numbers behind it, and what it says of any study."""

from __future__ import annotations

import datetime
import itertools
import math
import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from adbo.cli.main import main
from adbo.core.evaluation import FAIL_REASON
from adbo.mirror.study import table_of
from adbo.report.page import columns as columns_module
from adbo.report.page.columns import Collector, Columns
from adbo.report.page.document import facts_of, page_of
from adbo.report.page.front import front_of
from adbo.report.page.parameters import grid_of, importances_of
from adbo.report.page.progress import progress_of
from adbo.report.page.pruning import savings_of
from adbo.report.page.time_use import evaluations_at_once, rank_times

START = datetime.datetime(2026, 1, 1)
COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
HOSTILE = (
    "</title></svg><script>document.title='x'</script><img src=x onerror=alert(1)>$\\x{&\u202e"
)


def _study(**options: object) -> optuna.Study:
    return optuna.create_study(storage=optuna.storages.InMemoryStorage(), **options)


def _add(study: optuna.Study, span: tuple[float, float] | None = None, **more: object) -> None:
    """Add a trial that ran from one second to another after the start."""
    trial = create_trial(**more)  # type: ignore[arg-type]
    if span is None:
        trial.datetime_start = trial.datetime_complete = None
    else:
        trial.datetime_start, trial.datetime_complete = (
            START + datetime.timedelta(seconds=s) for s in span
        )
    study._storage.create_new_trial(study._study_id, template_trial=trial)


def _columns(study: optuna.Study) -> Columns:
    collector = Collector([-1 if d.name == "MAXIMIZE" else 1 for d in study.directions])
    for row in table_of(study).rows:
        collector.add(row)
    return collector.columns()


def _page(study: optuna.Study) -> str:
    return page_of(facts_of(study, "sqlite:///s.db"), _columns(study), "today")


def _made_by(rank: int, seq: int) -> dict[str, int]:
    return {"adbo:rank": rank, "adbo:seq": seq}


def test_the_best_value_is_in_the_order_of_the_ends() -> None:
    study = _study(direction="maximize")
    for span, value in (((0, 9), 5.0), ((1, 4), 2.0), ((2, 6), 1.0), ((2, 8), 3.0)):
        _add(study, span, value=value)
    _add(study, (0, 5), state=FAIL)
    _add(study, (0, 7), value=math.inf)
    progress = progress_of(_columns(study), -1)
    assert progress.seconds.tolist() == [4, 6, 8, 9]
    assert progress.count.tolist() == [1, 3, 5, 6]  # the failed and the infinite one count, too
    assert progress.best.tolist() == [2, 2, 3, 5]
    assert progress.improvements.tolist() == [0, 2, 3]


def test_infeasible_trials_are_not_the_best() -> None:
    study = _study()
    _add(study, (0, 1), value=1.0, system_attrs={"constraints": [0.5]})
    _add(study, (1, 2), value=2.0, system_attrs={"constraints": [0.0, -1.0]})
    _add(study, (2, 3), value=0.0, system_attrs={"constraints:stress": 0.1})
    assert progress_of(_columns(study), 1).best.tolist() == [2]
    assert "of them infeasible or infinite" in _page(study)


def test_where_the_time_of_each_rank_went() -> None:
    study = _study()
    job1 = 1_000_000_000
    for rank, seq, span in (
        *((0, 0, (0, 10)), (0, 1, (12, 20)), (1, 0, (4, 9)), (1, 1, (9, 15))),
        (0, job1, (100, 101)),
    ):
        _add(study, span, value=1.0, user_attrs=_made_by(rank, seq))
    _add(study, (0, 100), value=1.0)  # not by adbo
    times = rank_times(_columns(study))
    assert list(zip(times.job.tolist(), times.rank.tolist(), strict=True)) == [
        (0, 0),
        (0, 1),
        (1, 0),
    ]
    assert times.n_evaluations.tolist() == [2, 2, 1]
    assert times.evaluating.tolist() == [18, 11, 1]
    assert times.between.tolist() == [2, 0, 0]
    assert times.before.tolist() == [0, 4, 0]
    assert times.after.tolist() == [0, 5, 0]
    assert times.total.tolist() == [20, 20, 1]
    assert sorted(times.gaps.tolist()) == [0, 2]
    assert times.utilization == pytest.approx(30 / 41)


def test_evaluations_at_once() -> None:
    study = _study()
    for span in ((0, 4), (1, 3), (3, 8)):
        _add(study, span, value=1.0)
    edges, running = evaluations_at_once(_columns(study), 8)
    assert edges.tolist() == list(range(9))
    assert running == pytest.approx([1, 2, 2, 2, 1, 1, 1, 1])


def test_the_front_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(1)
    costs = rng.integers(0, 12, (200, 2)).astype(float)
    front = front_of(costs)
    expected = {
        tuple(c)
        for c in costs.tolist()
        if not any((other <= c).all() and (other < c).any() for other in costs)
    }
    members = [tuple(c) for c in costs[front.indices].tolist()]
    assert len(members) == len(set(members))
    assert set(members) == expected
    assert (np.diff(front.hypervolumes) >= 0).all()
    reference = costs.max(axis=0)
    cells = itertools.product(range(12), range(12))
    dominated = sum(
        any(c[0] <= x and c[1] <= y for c in members) and x < reference[0] and y < reference[1]
        for x, y in cells
    )
    assert front.hypervolumes[-1] == dominated


def test_what_pruning_saved() -> None:
    study = _study()
    for start in (0, 10):
        _add(study, (start, start + 10), value=1.0, intermediate_values={1: 2.0, 9: 1.0})
    _add(study, (0, 4), state=PRUNED, value=3.0, intermediate_values={1: 4.0, 3: 3.0})
    _add(study, (0, 12), state=PRUNED, value=3.0, intermediate_values={5: 3.0})
    savings = savings_of(_columns(study))
    assert savings is not None
    assert (savings.usual_steps, savings.pruned_steps) == (9, 4)
    assert savings.seconds == 6  # the second one took longer than a complete one
    assert savings.fraction == pytest.approx(6 / (20 + 4 + 12 + 6))


def test_nothing_is_said_of_what_pruning_saved_without_complete_trials() -> None:
    study = _study()
    _add(study, (0, 4), state=PRUNED, value=3.0, intermediate_values={1: 4.0})
    assert savings_of(_columns(study)) is None
    assert "Learning curves" in _page(study)


def test_a_map_has_the_best_value_of_each_cell() -> None:
    kind = CategoricalDistribution(["a", "b"])
    number = IntDistribution(1, 3)
    x, y = np.array([0.0, 0.0, 1.0, np.nan]), np.array([1.0, 1.0, 3.0, 2.0])
    grid = grid_of((x, y), (kind, number), np.array([5.0, 4.0, 7.0, 1.0]))
    assert grid.x_edges.tolist() == [-0.5, 0.5, 1.5]
    assert grid.y_edges.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert grid.best == pytest.approx(
        np.array([[4, np.nan], [np.nan, np.nan], [np.nan, 7]]), nan_ok=True
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_the_parameter_that_decides_is_the_important_one(sign: int) -> None:
    study = _study(direction="minimize" if sign > 0 else "maximize")
    rng = np.random.default_rng(0)
    distributions = {name: FloatDistribution(0, 1) for name in ("idle", "decides")}
    for idle, decides in rng.random((100, 2)):
        value = sign * (decides - 0.3) ** 2
        params = {"idle": idle, "decides": decides}
        _add(study, (0, 1), value=value, params=params, distributions=distributions)
    importances = importances_of(_columns(study), sign)
    assert list(importances) == ["decides", "idle"]
    assert importances["decides"] > 0.8
    assert sum(importances.values()) == pytest.approx(1)


def test_of_a_large_study_a_sample_and_the_best_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "_SAMPLE", 50)
    study = _study()
    values = np.random.default_rng(0).permutation(1000)
    for value in values:
        params = {"x": float(value)}
        distributions = {"x": FloatDistribution(0, 1000)}
        _add(study, (0, 1), value=float(value), params=params, distributions=distributions)
    columns = _columns(study)
    assert (len(columns.sample), columns.n_sampled, len(columns)) == (50, 1000, 1000)
    assert 300 < np.mean([trial.values[0] for trial in columns.sample]) < 700
    assert 300 < np.mean([trial.number for trial in columns.sample]) < 700
    assert [trial.values[0] for trial in columns.best] == list(range(10))
    assert "50 of 1,000 complete trials, drawn at random" in _page(study)


class _Tags(HTMLParser):
    """Collects tags, the attributes that they have, and the text outside of tags."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name.endswith(("href", "src"))}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_no_name_or_value_of_a_study_becomes_a_tag() -> None:
    study = _study(study_name=HOSTILE)
    distributions = {
        HOSTILE: FloatDistribution(0, 1),
        f"2{HOSTILE}": CategoricalDistribution([HOSTILE, None, True]),
    }
    for i in range(40):
        params = {HOSTILE: i / 40, f"2{HOSTILE}": [HOSTILE, None, True][i % 3]}
        steps = {step: float(i) for step in range(3)}
        more = {"params": params, "distributions": distributions, "intermediate_values": steps}
        _add(study, (i, i + 1), value=float(i), **more)
    _add(study, (0, 1), state=FAIL, user_attrs={FAIL_REASON: HOSTILE})
    page = _page(study)
    tags = _Tags()
    tags.feed(page)
    assert not {"script", "iframe", "object", "a:script", "foreignobject"} & tags.tags
    assert "img" not in tags.tags
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert all(link.startswith(("#", "data:image/png")) for link in tags.links), tags.links
    assert "default-src 'none'" in page
    assert tags.text.count("<script>") > 5
    assert "\u202e" not in tags.text.replace("--study-name", "").split("python -m adbo")[0]


def test_several_objectives() -> None:
    study = _study(directions=["minimize", "maximize"])
    study.set_metric_names(["time", "gain"])
    for i in range(20):
        _add(study, (i, i + 1), values=[float(i), float(i % 7)])
    page = _page(study)
    assert "time and gain" in page
    assert "Hypervolume" in page
    assert "--direction minimize --direction maximize" in page


def _odd_studies() -> dict[str, optuna.Study]:
    x = {"x": FloatDistribution(0, 1)}
    empty, failed, infinite, constant, timeless, ranges, huge = (_study() for _ in range(7))
    farthest, far_apart = _study(), _study()
    far_front = _study(directions=["minimize", "maximize"])
    widest = _study()
    everywhere = FloatDistribution(-sys.float_info.max, sys.float_info.max)
    xy = {**x, "y": FloatDistribution(0, 6)}
    _add(failed, (0, 1), state=FAIL)
    for value in (math.inf, -math.inf):
        _add(infinite, (0, 1), value=value)
    for _ in range(20):
        _add(constant, (0, 1), value=1.0, params={"x": 0.5}, distributions=x)
        _add(timeless, None, value=1.0, params={"x": 0.5}, distributions=x)
    for i in range(20):
        of_range = {"x": FloatDistribution(i, i + 1)}
        _add(ranges, (0, 0), value=float(i), params={"x": float(i)}, distributions=of_range)
        _add(huge, (0, 1e7), value=10.0 ** (15 * i), params={"x": i / 20}, distributions=x)
    for i in range(20):
        far = sys.float_info.max * (-1) ** i
        _add(farthest, (0, 1), value=-abs(far), params={"x": i / 20, "y": i % 7}, distributions=xy)
        reports = {0: 1.0, 1: far}
        _add(far_apart, (0, 1), value=far, intermediate_values=reports)
        _add(far_front, (0, 1), values=[far, -far])
        params = {"x": far, "y": -far}
        of_all = dict.fromkeys(params, everywhere)
        _add(widest, (0, 1), value=float(-i), params=params, distributions=of_all)
    one = _study()
    _add(one, (0, 1), value=-3.0, params={"x": 0.1}, distributions=x)
    waiting = _study()
    waiting.enqueue_trial({"x": 1})
    return {
        "empty": empty,
        "failed": failed,
        "infinite": infinite,
        "constant": constant,
        "timeless": timeless,
        "ranges": ranges,
        "huge": huge,
        "farthest": farthest,
        "far apart": far_apart,
        "far front": far_front,
        "widest": widest,
        "one": one,
        "waiting": waiting,
    }


@pytest.mark.parametrize("name", _odd_studies())
def test_any_study_has_a_page(name: str) -> None:
    page = _page(_odd_studies()[name])
    assert "Continue it" in page
    assert page.endswith("</html>\n")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path


def test_the_command_that_continues_has_what_it_needs(place: Path) -> None:
    study = optuna.create_study(
        study_name="my 'study' ", storage="sqlite:///adbo.db", direction="maximize"
    )
    study.add_trial(create_trial(value=1.0))
    assert main(["report", "--html", "r.html"]) == 0
    tags = _Tags()
    tags.feed(Path("r.html").read_text())
    command = tags.text.split("python -m adbo run OBJECTIVE ")[1].splitlines()[0]
    Path("my.py").write_text("def f(trial):\n    return trial.suggest_float('x', 0, 1)\n")
    line = f"{sys.executable} -m adbo run my.py:f --trials 3 {command}"
    root = str(Path(__file__).parents[2])
    subprocess.run(line, shell=True, check=True, env={**os.environ, "PYTHONPATH": root})
    assert len(study.trials) == 3


def test_the_summary_beside_a_page_is_the_same_as_without(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", "sphere:2", "--trials", "12", "--seed", "1", "--study-name", "s", "--quiet"])
    assert main(["report", "--json", "1.json"]) == 0
    without = capsys.readouterr().out
    assert main(["report", "--json", "2.json", "--html", "r.html"]) == 0
    assert capsys.readouterr().out == without
    assert Path("1.json").read_text() == Path("2.json").read_text()


def test_without_matplotlib_it_says_what_to_install(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["report", "--html", "r.html"]) == 2
    error = capsys.readouterr().err
    assert error == "adbo: --html needs matplotlib: pip install 'adbo[report]'\n"


def test_a_watched_page_is_written_again_until_the_end(place: Path) -> None:
    study = optuna.create_study(study_name="s", storage="sqlite:///adbo.db")
    study.add_trial(create_trial(value=2.0))
    command = [sys.executable, "-m", "adbo", "report", "--html", "r.html", "--watch", "1"]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root}) as process:
        try:
            _wait_until(lambda: "lowest value</dt><dd>2<" in _text("r.html"))
            assert 'http-equiv="refresh" content="1"' in _text("r.html")
            study.add_trial(create_trial(value=1.0))
            _wait_until(lambda: "lowest value</dt><dd>1<" in _text("r.html"))
            process.send_signal(signal.SIGTERM)
            assert process.wait(300) == 130
        finally:
            process.kill()
    assert 'http-equiv="refresh"' not in _text("r.html")
    assert [path.name for path in place.glob(".r.html*")] == []


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def _wait_until(is_so) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 300
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
