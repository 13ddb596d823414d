"""The live line and the last words."""

from __future__ import annotations

import contextlib
import io
import math
import os
import pty
import re
import time

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from adbo.cli.output import print_lines
from adbo.core.evaluation import Evaluation, Extras, Layout, to_batch
from adbo.core.history import History
from adbo.core.settings import Settings
from adbo.core.summary import Summary
from adbo.interruption.stopping import StopReason
from adbo.report.colour import with_colours
from adbo.report.live import Meter, Terminal
from adbo.report.study import summarize_study
from adbo.report.text import describe_run, describe_study
from adbo.report.watched import is_watched
from adbo.run.state import RunState, StartInfo

LAYOUT = Layout({"x": FloatDistribution(0, 1)})
START = 1000.0


def _progress(n_ranks: int = 2, **settings: float) -> RunState:
    start = StartInfo("s", "none", 0, [])
    return RunState(History(), Settings(**settings), start, n_ranks, 0, START)


def _finish(progress: RunState, rank: int, seq: int, span: tuple[float, float], **more) -> None:
    more = {"state": TrialState.COMPLETE, "value": 1.0, "extras": Extras(), **more}
    evaluation = Evaluation(
        rank=rank,
        seq=seq,
        started=span[0],
        finished=span[1],
        layout=LAYOUT,
        internal=(0.5,),
        **more,
    )
    progress.history.extend([to_batch(evaluation)])


def test_utilization_does_not_count_what_is_still_running() -> None:
    progress = _progress()
    _finish(progress, 0, 0, (START + 1, START + 10))
    meter = Meter(progress)
    meter.update()
    assert meter.utilization == pytest.approx(0.9)
    _finish(progress, 1, 0, (START + 10, START + 20))
    meter.update()
    assert meter.utilization == pytest.approx(19 / 30)


def test_the_text_of_the_live_line() -> None:
    progress = _progress(n_trials=40)
    meter = Meter(progress)
    assert meter.text(START + 1) == "0/s, utilization 0%"
    for seq in range(10):
        _finish(progress, 0, seq, (START + seq, START + seq + 1), value=3.0 - seq)
    meter.update()
    text = meter.text(START + 10)
    assert text == "best -6, 1/s, utilization 100%, 00:30 left"


def test_time_left_is_the_nearer_of_both_limits() -> None:
    progress = _progress(n_trials=1000, timeout=60.0)
    _finish(progress, 0, 0, (START, START + 1))
    assert Meter(progress).text(START + 10).endswith("00:50 left")


def test_the_first_failure_is_told_once() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, live=False)
    progress = _progress(n_trials=10)
    reason = Extras({"adbo:fail_reason": "ValueError: no mesh"})
    terminal.begin(progress)
    for seq in range(3):
        _finish(
            progress,
            0,
            seq,
            (START, START + 1),
            state=TrialState.FAIL,
            value=np.nan,
            extras=reason,
        )
    terminal.end()
    assert stream.getvalue() == (
        "adbo: an evaluation failed (ValueError: no mesh); the run goes on\n"
    )


def _all_of(main: int) -> bytes:
    """What a terminal shows; one read may return a part of it."""
    shown = b""
    with contextlib.suppress(OSError):  # the end, where the other end is closed
        while chunk := os.read(main, 100_000):
            shown += chunk
    return shown


def test_a_live_line_on_a_terminal() -> None:
    main, terminal_end = pty.openpty()
    with os.fdopen(terminal_end, "w") as stream:
        assert is_watched(stream)
        terminal = Terminal(stream, live=True)
        progress = _progress(n_trials=4)
        terminal.begin(progress)
        _finish(progress, 0, 0, (START, START + 1), value=0.25)
        time.sleep(0.1)
        terminal.say("a line in between")
        terminal.end()
    shown = _all_of(main).decode()
    os.close(main)
    assert "1/4" in shown
    assert "best 0.25" in shown
    assert "adbo: a line in between" in shown


def test_where_nobody_watches_a_line_now_and_then_shows_that_it_is_alive() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, live=False, line_seconds=0.01)
    progress = _progress(n_trials=4000)
    _finish(progress, 0, 0, (START, START + 1), value=0.25)
    terminal.begin(progress)
    deadline = time.monotonic() + 60
    while stream.getvalue().count("\n") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    terminal.end()
    line = stream.getvalue().splitlines()[0]
    assert re.fullmatch(r"adbo: \d\d:\d\d:\d\d  1 of 4,000 trials, best 0\.25, .*", line), line
    assert "\033" not in stream.getvalue()


def test_a_short_run_prints_no_such_line() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, live=False)
    terminal.begin(_progress(n_trials=4))
    time.sleep(0.3)
    terminal.end()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_only_on_a_terminal_and_where_they_are_wanted(
    environment: dict[str, str], is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    main, terminal_end = pty.openpty()
    with os.fdopen(terminal_end, "w") as stream:
        terminal = Terminal(stream, live=True)
        progress = _progress(n_trials=4)
        terminal.begin(progress)
        _finish(progress, 0, 0, (START, START + 1), value=0.25)
        terminal.end()
        print_lines(["best value:  3", "no label"], stream)
        assert with_colours(["best value:  3"], io.StringIO()) == ["best value:  3"]
    shown = _all_of(main).decode()
    os.close(main)
    assert ("\033[32mbest 0.25\033[0m, " in shown) is is_coloured
    assert ("\033[1mbest value:\033[0m  3" in shown) is is_coloured
    assert ("\033" in shown) is is_coloured
    assert "no label" in shown


def test_the_last_words_are_aligned() -> None:
    summary = Summary(
        study_name="my study",
        storage="sqlite:///s.db",
        direction="minimize",
        best_value=0.5,
        best_params={"x": 1.0},
        n_complete=3,
        n_pruned=0,
        n_fail=1,
        n_own=4,
        n_ranks=2,
        wall_seconds=2.0,
        utilization=0.5,
        evaluations_per_rank=[2, 2],
        reason="the time was up",
    )
    assert describe_run(summary, StopReason.DEADLINE) == [
        "best value:    0.5 at x=1",
        "trials:        4 (3 complete, 0 pruned, 1 failed), 4 of them now on 2 ranks in 2.0 s,"
        " utilization 50%",
        "stopped early: the time was up",
        "study:         my study in sqlite:///s.db",
        "see it:        optuna-dashboard sqlite:///s.db",
        "continue it:   --resume --study-name 'my study' --storage sqlite:///s.db",
    ]


def test_a_file_is_not_watched(tmp_path) -> None:
    with (tmp_path / "log").open("w") as stream:
        assert not is_watched(stream)


def test_no_utilization_of_trials_that_do_not_say_who_made_them() -> None:
    study = optuna.create_study(study_name="s")
    study.optimize(lambda trial: time.sleep(0.1) or trial.suggest_float("x", 0, 1), 8, n_jobs=4)
    summary = summarize_study(study, "memory")
    assert math.isnan(summary.utilization)
    (line,) = (line for line in describe_study(summary) if line.startswith("time:"))
    assert line.endswith(" s from the first start to the last result")
    assert "rank" not in line


def test_names_cannot_control_the_terminal() -> None:
    study = optuna.create_study(study_name="s\nbest value: 0\x1b[2J")
    study.optimize(lambda trial: len(trial.suggest_categorical("ö", ["\x07ü"])), 1)
    lines = describe_study(summarize_study(study, "memory"))
    assert all(line.isprintable() for line in lines)
    assert lines[0].endswith(r"s\nbest value: 0\x1b[2J in memory")
    assert "ö" in lines[1]
