"""The jobs of a study: their numbers, and which of them are running."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
import pytest
from optuna.storages import InMemoryStorage

import adbo
from adbo.core.evaluation import Evaluation
from adbo.core.job import SEQS_PER_JOB
from adbo.mirror import jobs, presence
from adbo.mirror.jobs import Jobs, StudyJobs
from adbo.mirror.presence import SILENCE_SECONDS, Presence
from adbo.mirror.reader import BulkReader, Range
from adbo.mirror.study import access_to


@pytest.fixture(params=["database", "any storage"])
def study(request: pytest.FixtureRequest, tmp_path: Path) -> optuna.Study:
    """A study in a database that adbo knows, and in another storage."""
    is_known = request.param == "database"
    storage = f"sqlite:///{tmp_path}/s.db" if is_known else InMemoryStorage()
    return optuna.create_study(storage=storage, study_name="s")


@pytest.fixture
def of_study(study: optuna.Study) -> Jobs:
    return access_to(study, job=0).jobs


class _Clock:
    """The clock of this node, which a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        now = time.time
        monkeypatch.setattr(jobs.time, "time", lambda: now() + self.ahead)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Clock]:
    return _Clock(monkeypatch)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of the node on which the process is, the last of the list."""
    names = ["n1"]
    monkeypatch.setattr(presence, "_host", lambda: names[-1])
    return names


def test_numbers_are_unique_although_jobs_leave(of_study: Jobs) -> None:
    numbers = []
    for _ in range(5):
        numbers.append(of_study.enter())
        of_study.leave(numbers[-1])
    assert numbers == [0, 1, 2, 3, 4]
    assert of_study.running(5) == set()


def test_numbers_are_greater_than_those_of_trials_to_come(of_study: Jobs) -> None:
    assert of_study.enter(above=6) == 7
    assert of_study.enter(above=3) == 8


def test_trials_of_jobs_that_left_no_trace(study: optuna.Study, of_study: Jobs) -> None:
    """They count; what a user writes there does not."""
    for seq in (3 * SEQS_PER_JOB + 5, 2 * SEQS_PER_JOB, "a text", None, -1):
        attributes = {"adbo:rank": 0, "adbo:seq": seq}
        study.add_trial(optuna.trial.create_trial(value=1.0, user_attrs=attributes))
    assert of_study.enter() == 4


def test_trials_that_were_copied_into_a_study_of_jobs(study: optuna.Study, of_study: Jobs) -> None:
    """No later job gives their names to trials of its own, which would count as stored."""
    of_study.leave(of_study.enter())
    attributes = {"adbo:rank": 0, "adbo:seq": 3 * SEQS_PER_JOB + 5}
    study.add_trial(optuna.trial.create_trial(value=1.0, user_attrs=attributes))
    assert of_study.enter() == 4


def test_a_job_that_is_silent_has_ended(of_study: Jobs, clock: _Clock, hosts: list[str]) -> None:
    first, second = of_study.enter(), of_study.enter()
    hosts.append("n2")
    assert of_study.running(second) == {first}
    clock.ahead = SILENCE_SECONDS + 1
    assert of_study.running(second) == set()
    third = of_study.enter()  # it removes what they left
    assert third == 2
    of_study.stay(first)  # it was there all the time
    assert of_study.running(third) == {first}


def test_a_job_that_reads_a_large_study_at_its_start(
    tmp_path: Path, clock: _Clock, hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = BulkReader.read

    def slowly(reader: BulkReader, own: Sequence[Range] = ()) -> list[Evaluation]:
        if not clock.ahead:
            clock.ahead = SILENCE_SECONDS + 1
        return read(reader, own)

    def objective(trial: optuna.trial.BaseTrial) -> float:
        hosts.append("n2")
        study = optuna.load_study(storage=storage, study_name="s")
        seen.append(access_to(study, job=7).jobs.running(7))
        hosts.append("n1")
        return trial.suggest_float("x", -5, 5) ** 2

    monkeypatch.setattr(BulkReader, "read", slowly)
    storage = f"sqlite:///{tmp_path}/s.db"
    seen: list[set[int]] = []
    adbo.optimize(objective, 1, storage=storage, study_name="s")
    assert seen == [{0}]


def test_a_clock_that_is_ahead_by_minutes(of_study: Jobs, clock: _Clock, hosts: list[str]) -> None:
    """Without a clock of the storage, a job of the past may look dead, but loses nothing."""
    first = of_study.enter()
    hosts.append("n2")
    clock.ahead = 600.0
    second = of_study.enter()
    assert second == first + 1
    hosts.append("n1")
    clock.ahead = 0.0
    assert of_study.running(first) == {second}
    of_study.stay(first)
    assert of_study.enter() == second + 1


def test_a_process_that_died_on_this_node(hosts: list[str]) -> None:
    """Process 2**22 cannot exist on Linux."""
    presence = Presence(0, seen=1000.0, host="n1", pid=2**22 + 1)
    assert not presence.is_running(1001.0)
    hosts.append("n2")
    assert presence.is_running(1001.0)


def test_a_node_with_the_same_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its processes have numbers that no process has here."""
    monkeypatch.setattr(presence.socket, "gethostname", lambda: "localhost")
    there = dataclasses.replace(Presence.of_this_process(0, 1000.0), pid=2**22 + 1)
    assert not there.is_running(1001.0)
    (tmp_path / "boot_id").write_text("another\n")
    monkeypatch.setattr(presence, "_BOOT_ID", tmp_path / "boot_id")
    assert there.is_running(1001.0)


def test_a_process_that_the_system_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a mount of ``/proc`` with ``hidepid`` hides those of other users."""

    def read_text(path: Path) -> str:
        raise FileNotFoundError(path)

    present = Presence.of_this_process(0, 1000.0)
    monkeypatch.setattr(presence, "_host", lambda: present.host)
    monkeypatch.setattr(presence.Path, "read_text", read_text)
    assert present.is_running(1001.0)


def test_coming_back_to_a_study_that_was_made_again(study: optuna.Study, of_study: Jobs) -> None:
    first, second = of_study.enter(), of_study.enter()
    identity = of_study.identity()
    assert of_study.come_back(first, identity)  # it was not made again
    optuna.delete_study(storage=study._storage, study_name="s")
    again = optuna.create_study(storage=study._storage, study_name="s")
    anew = access_to(again, job=0).jobs
    assert anew.come_back(first, identity)
    third = anew.enter()
    assert anew.come_back(second, identity)
    assert third > second
    assert anew.running(third) == {first, second}


def test_another_job_has_begun_the_study_anew(study: optuna.Study, of_study: Jobs) -> None:
    first = of_study.enter()
    identity = of_study.identity()
    optuna.delete_study(storage=study._storage, study_name="s")
    again = optuna.create_study(storage=study._storage, study_name="s")
    anew = access_to(again, job=0).jobs
    anew.enter()
    assert not anew.come_back(first, identity)


def test_two_jobs_that_choose_the_same_number_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through Optuna's interface, both see it, and choose again."""
    study = optuna.create_study(study_name="s")
    one, other = StudyJobs(study), StudyJobs(study)
    read, numbers = StudyJobs._read, []

    def interrupted(self: StudyJobs) -> dict[str, Presence]:
        found = read(self)
        if self is one and not numbers:
            numbers.append(-1)
            numbers.append(other.enter())  # after `one` has looked, before it writes
        return found

    monkeypatch.setattr(StudyJobs, "_read", interrupted)
    number = one.enter()
    assert {number, numbers[1]} == {0, 1}
