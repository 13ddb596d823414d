"""The mirror writes every evaluation once, whatever the writer does, and reports little."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from adbo.core.evaluation import Evaluation, Layout
from adbo.mirror.mirror import DataLossError, Mirror
from adbo.mirror.settings import Pace
from adbo.mirror.storage_errors import DatabaseError

PACE = Pace(batch=8, interval=0.005, first_pause=0.001, longest_pause=0.004)


def _evaluations(number: int) -> list[Evaluation]:
    layout = Layout({})
    return [
        Evaluation(0, seq, TrialState.COMPLETE, 1.0, 0.0, 1.0, layout, ()) for seq in range(number)
    ]


class _Database:
    """A writer that stores, unless `strike` raises."""

    def __init__(self, strike: Callable[[int, Sequence[Evaluation]], None]) -> None:
        self.stored: list[int] = []
        self.attempts: list[tuple[float, int]] = []
        self._strike = strike

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        self.attempts.append((time.monotonic(), len(evaluations)))
        self._strike(len(self.attempts) - 1, evaluations)
        self.stored += [e.seq for e in evaluations if e.seq not in self.stored]


def _mirrored(
    database: _Database, number: int, pace: Pace = PACE, patience: float = 10
) -> tuple[list[Evaluation], list[str]]:
    """Return what was not written, and the lines for the user."""
    lines: list[str] = []
    source = _evaluations(number)
    mirror = Mirror(database, lambda cursor: source[cursor:], report=lines.append, pace=pace)
    mirror.start()
    return mirror.flush_and_close(lambda: patience), lines


@given(st.integers(0, 40), st.sets(st.integers(0, 12)), st.booleans())
def test_a_database_that_fails_now_and_then(number: int, bad: set[int], is_stored: bool) -> None:
    """It fails before it stores a batch, or afterwards, so that only the answer is lost."""

    def strike(attempt: int, evaluations: Sequence[Evaluation]) -> None:
        if attempt in bad:
            if is_stored:
                database.stored += [e.seq for e in evaluations if e.seq not in database.stored]
            raise ConnectionError("lost")

    database = _Database(strike)
    unwritten, lines = _mirrored(database, number)
    assert unwritten == []
    assert sorted(database.stored) == list(range(number))
    assert sum("does not take" in line for line in lines) == sum("again" in line for line in lines)


@given(st.sets(st.integers(0, 29)))
def test_what_is_refused_is_set_aside(refused: set[int]) -> None:
    def strike(_: int, evaluations: Sequence[Evaluation]) -> None:
        if {e.seq for e in evaluations} & refused:
            raise ValueError("will never do")

    database = _Database(strike)
    unwritten, lines = _mirrored(database, 30)
    assert {e.seq for e in unwritten} == refused
    assert sorted(database.stored) == sorted(set(range(30)) - refused)
    assert sum("refuses an evaluation: will never do" in line for line in lines) == bool(refused)


def test_one_that_always_fails_does_not_keep_the_others_out() -> None:
    """An example is a packet that is too big for the server, which is no value error."""

    def strike(_: int, evaluations: Sequence[Evaluation]) -> None:
        if any(e.seq == 3 for e in evaluations):
            raise ConnectionError("gone away")

    database = _Database(strike)
    lines: list[str] = []
    source, n_shown = _evaluations(60), 30
    mirror = Mirror(database, lambda c: source[c:n_shown], report=lines.append, pace=PACE)
    mirror.start()
    while n_shown < 60:  # a run goes on
        n_shown += 1
        time.sleep(0.02)
    unwritten = mirror.flush_and_close(lambda: 0.5)
    assert [e.seq for e in unwritten] == [3]
    assert any("refuses an evaluation: gone away" in line for line in lines)
    assert len([line for line in lines if "does not take" in line]) < 5
    assert sorted(database.stored) == [i for i in range(60) if i != 3]


def test_who_waits_for_the_database_may_lose_patience() -> None:
    database = _Database(lambda *_: stuck.wait())
    stuck, source = threading.Event(), _evaluations(4)
    mirror = Mirror(database, lambda cursor: source[cursor:], report=lambda _: None, pace=PACE)
    mirror.start()
    patiences = itertools.chain([600.0] * 3, itertools.repeat(0.01))
    assert mirror.flush_and_close(lambda: next(patiences)) == source
    stuck.set()


def test_batches_that_are_too_big_become_smaller() -> None:
    def strike(_: int, evaluations: Sequence[Evaluation]) -> None:
        if len(evaluations) > 2:
            raise ConnectionError("too much at once")

    database = _Database(strike)
    unwritten, lines = _mirrored(database, 30)
    assert unwritten == []
    assert len(lines) == 2


def test_what_the_database_lost_is_written_again() -> None:
    def strike(attempt: int, _: Sequence[Evaluation]) -> None:
        if attempt == 2:
            database.stored.clear()
            raise DataLossError("all of them")

    database = _Database(strike)
    unwritten, lines = _mirrored(database, 30)
    assert unwritten == []
    assert sorted(database.stored) == list(range(30))
    assert len(lines) == 1


def test_pauses_grow_and_one_line_is_reported() -> None:
    def strike(attempt: int, _: Sequence[Evaluation]) -> None:
        if attempt < 6:
            raise ConnectionError("down\nwith details")

    pace = Pace(batch=8, interval=0.01, first_pause=0.02, longest_pause=0.16)
    database = _Database(strike)
    lines: list[str] = []
    source = _evaluations(4)
    mirror = Mirror(database, lambda cursor: source[cursor:], report=lines.append, pace=pace)
    mirror.start()
    while len(database.stored) < 4:
        time.sleep(0.005)
    assert mirror.flush_and_close(lambda: 10) == []
    times = [at for at, _ in database.attempts[:7]]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    for pause, at_least in zip(pauses, (0.02, 0.04, 0.08, 0.16, 0.16, 0.16), strict=True):
        assert pause >= at_least
    assert len(lines) == 2
    assert lines[0].startswith("the database does not take evaluations (down);")


def test_other_work_that_fails_is_tried_again() -> None:
    """It is trouble like that of the writer: one line when it begins, one when it is over."""
    over = threading.Event()
    failures = [DatabaseError("gone")] * 3

    def attend() -> None:
        if failures:
            raise failures.pop()
        if len(lines) == 2:
            over.set()

    database, lines = _Database(lambda *_: None), list[str]()
    source = _evaluations(5)
    mirror = Mirror(
        database, lambda cursor: source[cursor:], report=lines.append, pace=PACE, attend=attend
    )
    mirror.start()
    assert over.wait(10), lines
    assert mirror.flush_and_close(lambda: 10) == []
    assert database.stored == list(range(5))
    assert lines[0].startswith("the database does not take evaluations (gone);")
    assert lines[1].startswith("the database takes evaluations again")
    assert len(lines) == 2


def test_the_end_gives_up_a_database_that_makes_no_progress() -> None:
    def strike(*_: object) -> None:
        raise ConnectionError("down")

    unwritten, lines = _mirrored(_Database(strike), 20, patience=0.2)
    assert sorted(e.seq for e in unwritten) == list(range(20))
    assert "20 evaluations could not be written to the database (down)" in lines[-1]


def test_the_end_gives_up_a_database_that_never_answers() -> None:
    over = threading.Event()
    database = _Database(lambda *_: over.wait(60) and None)
    unwritten, lines = _mirrored(database, 20, patience=0.2)
    over.set()
    assert len(unwritten) == 20
    assert "it did not answer" in lines[-1]


def test_it_begins_at_the_cursor_and_attends_when_all_is_written() -> None:
    database, attended = _Database(lambda *_: None), threading.Event()
    source = _evaluations(20)
    mirror = Mirror(
        database,
        lambda cursor: source[cursor:],
        report=print,
        cursor=15,
        pace=PACE,
        attend=attended.set,
    )
    mirror.start()
    assert attended.wait(10)
    assert database.stored == [15, 16, 17, 18, 19]
    mirror.flush_and_close(lambda: 10)
    with pytest.raises(RuntimeError):
        mirror.start()


def test_the_last_work_is_done_although_an_evaluation_is_refused() -> None:
    def strike(attempt: int, evaluations: Sequence[Evaluation]) -> None:
        if any(e.seq == 3 for e in evaluations):
            raise ValueError("never")

    source = _evaluations(10)
    concluded: list[str] = []
    mirror = Mirror(
        _Database(strike),
        lambda cursor: source[cursor:],
        report=lambda line: None,
        pace=PACE,
        conclude=lambda: concluded.append(threading.current_thread().name),
    )
    mirror.start()
    assert [e.seq for e in mirror.flush_and_close(lambda: 10)] == [3]
    assert concluded == ["adbo-mirror"]
    assert mirror.has_concluded


def test_last_work_that_the_database_never_answers_is_given_up() -> None:
    answer = threading.Event()

    def conclude() -> None:
        answer.wait(60)

    mirror = Mirror(
        _Database(lambda attempt, evaluations: None),
        lambda cursor: [],
        report=lambda line: None,
        pace=PACE,
        conclude=conclude,
    )
    mirror.start()
    began = time.monotonic()
    assert mirror.flush_and_close(lambda: 0.2) == []
    assert time.monotonic() - began < 5
    assert not mirror.has_concluded
    answer.set()
