"""Several jobs of one study in any interleaving: nothing is lost, nothing is stored twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from faults import interposed, losing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from servers import KINDS

from adbo.core.enqueued import Enqueued
from adbo.core.evaluation import Evaluation, Extras, Layout
from adbo.core.job import Job
from adbo.core.optuna_trials import ENQUEUED, name_of
from adbo.mirror import rescue
from adbo.mirror.connection import uncached
from adbo.mirror.storage_errors import DatabaseError
from adbo.mirror.study import access_to, enter

LAYOUT = Layout({"x": optuna.distributions.FloatDistribution(0.0, 1e9)})

names = (f"study-{number}" for number in itertools.count())


@pytest.fixture(params=[*KINDS, "journal", "memory"])
def storages(
    request: pytest.FixtureRequest, make_url: Callable[[str], str], tmp_path: Path
) -> list[BaseStorage]:
    """The storage as three processes open it, for each kind."""
    if request.param == "memory":
        return [InMemoryStorage()] * 3  # there is one process only
    if request.param == "journal":
        path = str(tmp_path / "journal")
        return [JournalStorage(JournalFileBackend(path)) for _ in range(3)]
    url = make_url(request.param)
    return [optuna.storages.get_storage(url) for _ in range(3)]


class _Job:
    """A job of one rank, which does with a study what `adbo.mirror.owner` does."""

    def __init__(self, study: optuna.Study, directory: Path) -> None:
        self.location = rescue.Location(study.study_name, "", [directory])
        self.number, _, _ = enter(study, rescue.last_job(self.location))
        self.access = access_to(study, self.number)
        job = Job(self.number)
        self.read = self.access.reader.read()
        restored = rescue.restore(self.location, self.access, self.read, lambda text: None)
        self.read += restored
        self.restored = {(e.rank, e.seq) for e in restored}
        self.taken: dict[int, Enqueued] = {}
        self._seq = job.first_seq
        self.made: list[Evaluation] = []
        self.n_confirmed = 0

    def make(self, enqueued: Enqueued | None) -> None:
        """Evaluate a trial."""
        system_attrs = {} if enqueued is None else enqueued.system_attrs
        moment = 1.7e9 + self._seq % 1_000_003
        self.made.append(
            Evaluation(
                rank=0,
                seq=self._seq,
                state=TrialState.COMPLETE,
                value=1.0,
                started=moment,
                finished=moment + 1,
                layout=LAYOUT,
                internal=(float(self._seq % 1_000_000_000),),
                extras=Extras({}, system_attrs, {}),
            )
        )
        self._seq += 1

    def write(self) -> None:
        """Write what is not confirmed yet."""
        n = len(self.made)
        self.access.writer.write(self.made[self.n_confirmed :])
        self.n_confirmed = n

    def look(self) -> None:
        """Read what others did."""
        own = list(self.access.writer.written)
        read = self.access.reader.read(own)
        del self.access.writer.written[: len(own)]
        # A reader may return again what this job has restored or made.
        self.read += [e for e in read if (e.rank, e.seq) not in self.restored]

    def take(self, running: set[int]) -> list[int]:
        """Take enqueued trials, and those of jobs that died; return their ids."""
        unfinished = self.access.reader.cursor.unfinished
        lost = self.access.queue.take_lost(unfinished, running)
        new = [*lost, *self.access.queue.take(unfinished)]
        ids = [e.system_attrs[ENQUEUED][0] for e in new]
        self.taken.update(zip(ids, new, strict=True))
        return ids


class _World:
    """A study with its jobs and a plain worker of Optuna."""

    def __init__(self, storages: list[BaseStorage], directory: Path) -> None:
        name = next(names)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        optuna.create_study(storage=storages[0], study_name=name)
        self._directory = directory
        self.studies = [optuna.load_study(storage=s, study_name=name) for s in storages]
        self.jobs: list[_Job] = []
        self.numbers: list[int] = []
        self.certain: set[tuple[int, int]] = set()  # of jobs that ended: what must be stored
        self.made: set[tuple[int, int]] = set()
        self.running: list[optuna.Trial] = []
        self.n_told = 0
        self._next = 0

    def step(self, step: str, which: int, point: int) -> None:
        """Do one thing."""
        if step == "open" or not self.jobs:
            self.open()
            return
        job = self.jobs[which % len(self.jobs)]
        if step == "make":
            for _ in range(1 + point % 4):
                enqueued = job.taken.pop(next(iter(job.taken))) if job.taken else None
                job.make(enqueued)
        elif step == "write":
            self.write(job, point)
        elif step == "look":
            job.look()
        elif step == "take":
            self.take(job)
        elif step in ("die", "rescue"):
            self.end(job, has_file=step == "rescue")
        else:
            self.by_optuna(step)

    def open(self) -> None:
        """Begin a job."""
        job = _Job(self.studies[self._next % len(self.studies)], self._directory)
        self._next += 1
        assert job.number not in self.numbers
        self.numbers.append(job.number)
        self.jobs.append(job)

    def write(self, job: _Job, point: int) -> None:
        """Let a job write while the connection may be lost at a statement or a commit."""
        self.made |= {(e.rank, e.seq) for e in job.made}
        storage = uncached(job.access.study._storage)
        if not isinstance(storage, RDBStorage):
            job.write()
            return
        with interposed(storage.engine, losing(storage.engine, point)):
            try:
                job.write()
            except DatabaseError:
                return

    def take(self, job: _Job) -> None:
        """Let a job take enqueued trials; none is held by two."""
        job.look()
        ids = job.take({job.number for job in self.jobs})
        held = [i for other in self.jobs if other is not job for i in other.taken]
        assert not set(ids) & set(held)
        assert len(set(ids)) == len(ids)

    def end(self, job: _Job, has_file: bool) -> None:
        """Let a job die, or write the file of what is not stored."""
        self.jobs.remove(job)
        certain = job.made if has_file else job.made[: job.n_confirmed]
        self.made |= {(e.rank, e.seq) for e in job.made}
        self.certain |= {(e.rank, e.seq) for e in certain}
        if has_file and job.n_confirmed < len(job.made):
            rescue.write(job.location, job.made[job.n_confirmed :])

    def by_optuna(self, step: str) -> None:
        """Enqueue a trial, or begin or finish one."""
        study = self.studies[-1]
        if step == "enqueue":
            study.enqueue_trial({"x": 1.0})
        elif step == "ask":
            trial = optuna.trial.Trial(study, study._storage.create_new_trial(study._study_id))
            self.running.append(trial)
        elif self.running:
            study.tell(self.running.pop(0), 2.0)
            self.n_told += 1

    def finish(self) -> list[FrozenTrial]:
        """Let all jobs write and read all, and return the finished trials."""
        self.open()  # it restores what is in files
        while self.running:
            self.by_optuna("tell")
        for job in self.jobs:
            job.write()
            self.certain |= {(e.rank, e.seq) for e in job.made}
        self.made |= self.certain
        for job in self.jobs:
            job.look()
        trials = self.studies[0].get_trials()
        assert [t.number for t in trials] == list(range(len(trials)))
        return [t for t in trials if t.state.is_finished()]


STEPS = ["open", "make", "make", "make", "write", "write", "look", "take", "die", "rescue"]
STEPS += ["enqueue", "ask", "tell"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3), st.integers(0, 60)), max_size=25)
)
def test_any_interleaving(
    storages: list[BaseStorage],
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int, int]],
) -> None:
    """Jobs begin, write, lose the connection, die and are resumed; Optuna writes as well."""
    world = _World(storages, tmp_path_factory.mktemp("rescue"))
    for step in steps:
        world.step(*step)
    trials = world.finish()
    stored = [name for t in trials if (name := name_of(t.user_attrs)) is not None]
    assert len(set(stored)) == len(stored)
    assert world.certain <= set(stored) <= world.made
    assert len(trials) == len(stored) + world.n_told
    everything = {*stored, *((-1, t.number) for t in trials if name_of(t.user_attrs) is None)}
    for job in world.jobs:
        own = {(e.rank, e.seq) for e in job.made}
        read = [(e.rank, e.seq) for e in job.read if (e.rank, e.seq) not in own]
        assert len(set(read)) == len(read)
        assert {*read, *own} == everything


def test_what_was_not_stored_of_an_enqueued_trial_comes_back(storages: list[BaseStorage]) -> None:
    """A job that died had taken it; the next one takes it over, once."""
    study = optuna.create_study(storage=storages[0], study_name=next(names))
    study.enqueue_trial({"x": 1.0})
    ids = [trial._trial_id for trial in study.get_trials()]
    first, second, third = (access_to(study, number) for number in range(3))
    assert len(first.queue.take(ids)) == 1
    assert second.queue.take_lost(ids, running={0, 1, 2}) == []
    assert len(second.queue.take_lost(ids, running={1, 2})) == 1
    assert third.queue.take_lost(ids, running={1, 2}) == []
    (trial,) = study.get_trials()
    assert trial.state == TrialState.RUNNING
