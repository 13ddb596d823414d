"""Programs that report while they run, and are ended where they are not worth going on."""

from __future__ import annotations

import time
from pathlib import Path

import optuna
import pytest
from optuna.pruners import ThresholdPruner
from optuna.trial import FixedTrial

import adbo
from adbo.core.errors import UsageError
from adbo.objective.program.objective import DIRECTORY
from adbo.objective.program.reports import Watcher

PARAMETER = """
[parameters.x]
kind = "float"
low = 0
high = 5
"""

REPORTS = """
[reports]
regex = '^loss (\\S+)$'
"""

#: Reports three losses at once; then it hangs if the last one is bad.
SCRIPT = """
for step in 1 2 3; do echo "loss $0"; done; echo "unfinished loss"
case $0 in [3-9]*) echo $$ > pid; sleep 600;; esac; echo "loss 1D-1"; echo $0
"""


def _study_file(path: Path, script: str, more: str = REPORTS) -> str:
    (path / "study.toml").write_text(
        f"command = ['sh', '-c', '''{script}''', '{{x}}']\n{more}{PARAMETER}"
    )
    return str(path / "study.toml")


def test_a_program_is_ended_where_it_is_not_worth_going_on(tmp_path: Path) -> None:
    program = adbo.load_program(_study_file(tmp_path, SCRIPT))
    points = [{"x": 1.5}, {"x": 3.5}]
    start = time.monotonic()
    study = adbo.optimize(
        program, n_trials=2, storage=None, enqueue=points, pruner=ThresholdPruner(upper=3)
    )
    assert time.monotonic() - start < 60
    good, bad = study.trials
    assert good.state.name == "COMPLETE"
    assert good.intermediate_values == {0: 1.5, 1: 1.5, 2: 1.5, 3: 0.1}
    assert bad.state.name == "PRUNED"
    assert bad.value == 3.5
    process = int((Path(bad.user_attrs[DIRECTORY]) / "pid").read_text())
    assert not Path(f"/proc/{process}").exists()


def test_each_value_is_reported_once_and_when_its_line_is_complete(tmp_path: Path) -> None:
    program = adbo.load_program(_study_file(tmp_path, "echo 1", REPORTS + "file = 'log'\n"))
    reported: list[tuple[float, int]] = []

    class Trial(FixedTrial):
        def report(self, value: float, step: int) -> None:
            reported.append((value, step))

    watcher = Watcher(program.study_file.reports, tmp_path, Trial({}))
    watcher.look()
    with (tmp_path / "log").open("w", buffering=1, newline="") as log:
        texts = ("loss 3\nlo", "ss 2\r\nloss", " nothing\r", "\nother 9\nloss 1e-1\r")
        for text in texts:
            log.write(text)
            log.flush()
            watcher.look()
        watcher.finish()
    assert reported == [(3.0, 0), (2.0, 1), (0.1, 2)]


@pytest.mark.parametrize(
    ("reports", "problem"),
    [
        ("[reports]\nfile = 'log'\n", "reports.regex: must be given"),
        ("[reports]\n", "reports.regex: must be given"),
        ("[reports]\nregex = 'loss'\n", "reports.regex: has 0 groups in parentheses: it must"),
        ("[reports]\nregex = '('\n", "reports.regex: is not a regular expression"),
        ("[reports]\ntake = 'last line'\n", "reports.take: unknown key"),
    ],
)
def test_a_wrong_table(tmp_path: Path, reports: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        adbo.load_program(_study_file(tmp_path, "echo 1", reports))
    assert problem in str(caught.value)


def test_without_reports_nothing_is_asked(tmp_path: Path) -> None:
    program = adbo.load_program(_study_file(tmp_path, "echo loss 7; echo 1", ""))
    study = optuna.create_study(pruner=ThresholdPruner(upper=3))
    study.optimize(program, n_trials=1)
    assert study.trials[0].intermediate_values == {}
