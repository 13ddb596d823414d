"""Virtual ranks with a shared log behave like ranks with private histories."""

from __future__ import annotations

import heapq
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from simulated_objectives import branching, sphere

from adbo.comm import in_process
from adbo.core.evaluation import NO_EXTRAS, Batch, Evaluation, Extras, Layout, to_batch
from adbo.core.history import History
from adbo.core.wire import Decoder, Encoder, message
from adbo.objective.evaluate import evaluate
from adbo.objective.trial import RankStudy
from adbo.optimizer import ask
from adbo.optimizer.settings import OptimizerSettings, SampleSettings
from adbo.run.loop import work
from adbo.simulation.events import run_asynchronous
from adbo.simulation.shared_history import SharedHistory
from adbo.simulation.virtual_ranks import LogEntry, Machine, Method, Task

#: Few rows, so that an ask draws from the history instead of reading all of it.
SMALL_SAMPLE = OptimizerSettings(sample=SampleSettings(n_elites=8))


def grid(trial):
    return trial.suggest_int("a", 0, 7) * trial.suggest_int("b", 0, 7)


def adbo(kappa, rng, part):
    return lambda known: ask.propose(known, kappa, rng, SMALL_SAMPLE, part)


def draw(rng):
    return rng.exponential(10.0)


def quarter(n_known):
    return 0.25


def shared(task: Task, machine: Machine, until: float, make_propose=adbo) -> list[Evaluation]:
    log = run_asynchronous(task, machine, until, method=Method(make_propose))
    return [evaluation_of(entry, Decoder()) for entry in with_layouts(log)]


def with_layouts(log):
    """Yield the log entries with messages that can be decoded independently."""
    decoder = Decoder()
    known = History()
    for entry in log:
        known.extend(decoder.decode([entry.data]).batches)
        data = message([Encoder().frames(known.evaluation(len(known) - 1))])
        yield entry._replace(data=data)


def evaluation_of(entry: LogEntry, decoder: Decoder) -> Evaluation:
    known = History()
    known.extend(decoder.decode([entry.data]).batches)
    return known.evaluation(0)


class PrivateRank:
    """A rank with its own messages, decoder, and a history that is rebuilt for each ask."""

    def __init__(self, task: Task, machine: Machine, rank: int) -> None:
        self.task, self.machine, self.rank = task, machine, rank
        self.ask_rng, self.trial_rng, _ = machine.streams(rank)
        self.durations = machine.durations(rank)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.inbox: list[tuple[float, float, int, bytes]] = []
        self.heard: list[tuple[float, int, Batch]] = []
        self.own: list[Evaluation] = []

    def ask(self, now: float) -> Evaluation:
        while self.inbox and self.inbox[0][0] <= now:
            _, finished, sender, data = heapq.heappop(self.inbox)
            [batch] = self.decoder.decode([data]).batches
            self.heard.append((finished, sender, batch))
        known = History(self.task.signs)
        known.extend(batch for *_, batch in sorted(self.heard, key=lambda h: self.place(h, now)))
        known.extend([to_batch(e) for e in self.own if e.finished <= now])
        size = self.machine.workers // self.machine.jobs
        part = (self.rank % size, size)
        point, origin = ask.propose(known, self.task.kappa, self.ask_rng, SMALL_SAMPLE, part)
        started = now + self.machine.ask_cost(len(known))
        finished = started + next(self.durations)
        number = len(self.own) * self.machine.workers + self.rank
        trial = RankStudy(known).begin(point, number, started, self.trial_rng)
        name = (self.rank, len(self.own))
        evaluation = evaluate(self.task.objective, trial, name, lambda: finished)
        self.own.append(replace(evaluation, origin=origin))
        return self.own[-1]

    def place(self, heard: tuple[float, int, Batch], now: float) -> tuple[bool, float, int]:
        """Return the place of a record: those that every rank knows come first."""
        finished, sender, _ = heard
        return finished + self.latency_to_all() > now, finished, sender

    def latency_to_all(self) -> float:
        return self.machine.latency if self.machine.jobs == 1 else self.machine.job_latency

    def hear(self, evaluation: Evaluation, data: bytes) -> None:
        """Put a record into the inbox; its own comes when every rank has it."""
        size = self.machine.workers // self.machine.jobs
        peer = evaluation.rank != self.rank and evaluation.rank // size == self.rank // size
        arrival = evaluation.finished + (self.machine.latency if peer else self.latency_to_all())
        heapq.heappush(self.inbox, (arrival, evaluation.finished, evaluation.rank, data))


def private(task: Task, machine: Machine, until: float) -> list[Evaluation]:
    """Simulate the same machine with private histories and messages to every rank."""
    ranks = [PrivateRank(task, machine, r) for r in range(machine.workers)]
    running = [(e.finished, e.rank, e) for e in (rank.ask(0.0) for rank in ranks)]
    heapq.heapify(running)
    log = []
    while running[0][0] <= until:
        now, r, evaluation = heapq.heappop(running)
        log.append(evaluation)
        data = message([ranks[r].encoder.frames(evaluation)])
        for rank in ranks:
            rank.hear(evaluation, data)
        following = ranks[r].ask(now)
        heapq.heappush(running, (following.finished, r, following))
    return log


@pytest.mark.parametrize("objective", [sphere, branching, grid])
@pytest.mark.parametrize(
    ("latency", "jobs", "job_latency"),
    [(0.0, 1, 1.0), (0.5, 1, 1.0), (30.0, 1, 1.0), (0.0, 3, 1.0), (0.5, 2, 30.0), (0.0, 6, 9.0)],
)
def test_ranks_with_a_shared_log_ask_as_with_private_histories(
    objective, latency, jobs, job_latency
):
    task = Task(objective, (1,), 1.96)
    machine = Machine(6, draw, latency, quarter, seed=3, jobs=jobs, job_latency=job_latency)
    expected = private(task, machine, 90.0)
    assert len(expected) > 40
    assert repr(shared(task, machine, 90.0)) == repr(expected)


def sorted_qucb(kappa, rng, part):
    """Return a qUCB that does not depend on the order in which records were received."""

    def propose(known):
        evaluations = sorted(known.evaluations(), key=lambda e: (e.rank, e.seq))
        ordered = History(known.sign)
        ordered.extend([to_batch(e) for e in evaluations])
        return ask.propose(ordered, kappa, rng, part=part)

    return propose


def test_the_log_is_that_of_real_workers_on_a_real_network():
    task = Task(sphere, (1,), 1.96)
    machine = Machine(5, draw, ask_cost=lambda n_known: 0.0, seed=11)
    loops, trial_rngs, durations, counts = [], [], [], [0] * 5
    known = [History() for _ in range(5)]
    for rank, transport in enumerate(in_process.network(5)):
        ask_rng, trial_rng, _ = machine.streams(rank)
        propose = sorted_qucb(task.kappa, ask_rng, (rank, 5))
        exchange = SimpleNamespace(
            broadcast=transport.broadcast,
            receive=lambda transport=transport: transport.receive().batches,
        )
        loops.append(work(known[rank], propose, exchange, lambda: False))
        trial_rngs.append(trial_rng)
        durations.append(machine.durations(rank))

    def begin(rank, now, proposal):
        finished = now + next(durations[rank])
        number = counts[rank] * 5 + rank
        trial = RankStudy(known[rank]).begin(proposal.point, number, now, trial_rngs[rank])
        name = (rank, counts[rank])
        counts[rank] += 1
        evaluation = evaluate(sphere, trial, name, lambda: finished)
        return finished, rank, replace(evaluation, origin=proposal.origin)

    running = [begin(rank, 0.0, next(loop)) for rank, loop in enumerate(loops)]
    heapq.heapify(running)
    expected = []
    while running[0][0] <= 120.0:
        now, rank, evaluation = heapq.heappop(running)
        expected.append(evaluation)
        heapq.heappush(running, begin(rank, now, loops[rank].send(evaluation)))
    assert len(expected) > 30
    assert repr(shared(task, machine, 120.0, sorted_qucb)) == repr(expected)


@pytest.mark.parametrize(("latency", "jobs"), [(0.0, 1), (0.5, 1), (0.5, 2), (0.0, 4)])
def test_processes_do_not_change_the_log(latency, jobs):
    def run(processes):
        machine = Machine(8, draw, latency, quarter, 5, processes, jobs, job_latency=6.0)
        return repr(shared(Task(branching, (1,), 1.96), machine, 60.0))

    assert run(1) == run(2) == run(3)


def test_jobs_that_hear_of_each_other_as_soon_as_ranks_are_one_job():
    def run(jobs, job_latency):
        machine = Machine(8, draw, 0.5, quarter, seed=5, jobs=jobs, job_latency=job_latency)
        return repr(shared(Task(branching, (1,), 1.96), machine, 60.0))

    assert run(1, 0.5) == run(1, 20.0) == run(2, 0.5) == run(8, 0.5)
    assert len({run(1, 20.0), run(2, 20.0), run(8, 20.0)}) == 3


LAYOUTS = {name: Layout({name: optuna.distributions.IntDistribution(0, 9)}) for name in "abc"}


def record(seq, value, name="a", extras=NO_EXTRAS):
    """Return a record with one parameter, which is ``seq``."""
    layout, state = LAYOUTS[name], TrialState.COMPLETE
    return to_batch(Evaluation(0, seq, state, value, 0.0, 1.0, layout, (float(seq),), extras))


def test_an_overlay_leaves_no_trace():
    known = SharedHistory(1)
    known.extend([record(0, 5.0), record(1, 4.0)])
    expected = known.evaluations(), known.elites.tolist(), dict(known.counts)
    first = record(2, 1.0, extras=Extras({"a": 1}))
    second = record(3, 1.0, "b")
    for own in (first, first, second):
        with known.overlaid([own]):
            assert len(known) == 3
            assert known.n_published == 2
            assert known.best == 2
            assert known.contains(known.values(slice(None))).all()
        assert (known.evaluations(), known.elites.tolist(), known.counts) == expected
        assert known.space.names == ["a"]
        assert known.contains(np.array([[0.0], [2.0], [3.0]])).tolist() == [True, False, False]
    assert known.extend([second, first]) == 2
    assert known.space.names == ["a", "b"]
    assert np.isnan(known.values(np.array([2]))[0, 0])
    assert [e.extras.user_attrs for e in known.evaluations(2)] == [{}, {"a": 1}]


def test_an_overlay_with_a_new_parameter_leaves_no_values():
    known = SharedHistory(1)
    known.extend([record(0, 5.0, "a"), record(1, 4.0, "b")])
    with known.overlaid([record(2, 1.0, "a"), record(3, 1.0, "c")]):
        assert known.space.names == ["a", "b", "c"]
    known.extend([record(4, 1.0, "b")])
    np.testing.assert_equal(known.values(np.array([2])), [[np.nan, 4.0]])
