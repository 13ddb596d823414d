"""The virtual clock: who knows what when, and what is counted."""

from __future__ import annotations

import heapq
import itertools
import json
import math
import os
import signal
from collections import deque
from functools import partial

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from adbo.comm import in_process
from adbo.core import history
from adbo.core.errors import UsageError
from adbo.core.evaluation import NO_EXTRAS, Batch, Evaluation, Extras, Layout, to_batch
from adbo.core.history import History
from adbo.core.wire import Decoder, Encoder, message
from adbo.objective.evaluate import evaluate
from adbo.objective.trial import Trial
from adbo.optimizer import ask
from adbo.run.loop import work
from adbo.simulation import virtual_ranks
from adbo.simulation.durations import parse_duration
from adbo.simulation.events import decentralized, synchronous
from adbo.simulation.simulate import SimulationSettings, simulate
from adbo.simulation.virtual_ranks import Entry, Machine, Method, SharedHistory, Task


def sphere(trial):
    return sum(trial.suggest_float(f"x{i}", -5, 5) ** 2 for i in range(3))


def branching(trial):
    """Conditional, partly discrete, sometimes pruned or failed, with attributes."""
    x = trial.suggest_float("x", -5, 5)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    trial.set_user_attr("kind", kind)
    if kind == "a":
        return x**2 + trial.suggest_int("n", 1, 9)
    if kind == "b":
        trial.report(x, 1)
        raise optuna.TrialPruned
    if x > 4:
        raise ValueError("too far")
    return x**2 + trial.suggest_float("y", 1e-3, 1, log=True)


def grid(trial):
    return trial.suggest_int("a", 0, 7) * trial.suggest_int("b", 0, 7)


def adbo(kappa, rng):
    return lambda known: ask.propose(known, kappa, rng)


def draw(rng):
    return rng.exponential(10.0)


def quarter(n_known):
    return 0.25


@pytest.fixture
def _small_sample(monkeypatch):
    """Few rows suffice to make an ask draw from the history instead of taking all of it."""
    monkeypatch.setattr(history, "ELITES", 8)
    monkeypatch.setattr(ask, "UNIFORM_ROWS", 8)


def shared(task: Task, machine: Machine, until: float, make_propose=adbo) -> list[Evaluation]:
    log = decentralized(task, machine, until, method=Method(make_propose))
    return [evaluation_of(entry, Decoder()) for entry in with_layouts(log)]


def with_layouts(log):
    """Entries whose data can be decoded alone."""
    decoder = Decoder()
    known = History()
    for entry in log:
        known.extend(decoder.decode([entry.data]).batches)
        data = message([Encoder().frames(known.evaluation(len(known) - 1))])
        yield entry._replace(data=data)


def evaluation_of(entry: Entry, decoder: Decoder) -> Evaluation:
    known = History()
    known.extend(decoder.decode([entry.data]).batches)
    return known.evaluation(0)


class PrivateRank:
    """A rank with everything of its own: bytes, decoder, and a history made anew for each ask."""

    def __init__(self, task: Task, machine: Machine, rank: int) -> None:
        self.task, self.machine, self.rank = task, machine, rank
        self.ask_rng, self.trial_rng, _ = machine.streams(rank)
        self.durations = machine.durations(rank)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.inbox: deque[tuple[float, bytes]] = deque()
        self.heard: list[Batch] = []
        self.own: list[Evaluation] = []

    def ask(self, now: float) -> Evaluation:
        while self.inbox and self.inbox[0][0] <= now:
            self.heard += self.decoder.decode([self.inbox.popleft()[1]]).batches
        known = History(self.task.sign)
        known.extend(self.heard)
        known.extend([to_batch(e) for e in self.own if e.finished <= now])
        point = ask.propose(known, self.task.kappa, self.ask_rng)
        started = now + self.machine.ask_cost(len(known))
        finished = started + next(self.durations)
        number = len(self.own) * self.machine.workers + self.rank
        trial = Trial(known.space, point, number, started, self.trial_rng)
        name = (self.rank, len(self.own))
        self.own.append(evaluate(self.task.objective, trial, name, lambda: finished))
        return self.own[-1]


def private(task: Task, machine: Machine, until: float) -> list[Evaluation]:
    """The same rules with private histories, fed with bytes sent to every rank."""
    ranks = [PrivateRank(task, machine, r) for r in range(machine.workers)]
    running = [(e.finished, e.rank, e) for e in (rank.ask(0.0) for rank in ranks)]
    heapq.heapify(running)
    log = []
    while running[0][0] <= until:
        now, r, evaluation = heapq.heappop(running)
        log.append(evaluation)
        data = message([ranks[r].encoder.frames(evaluation)])
        for peer in ranks:  # itself included: its own record takes its place among the others
            peer.inbox.append((now + machine.latency, data))
        following = ranks[r].ask(now)
        heapq.heappush(running, (following.finished, r, following))
    return log


@pytest.mark.usefixtures("_small_sample")
@pytest.mark.parametrize("objective", [sphere, branching, grid])
@pytest.mark.parametrize("latency", [0.0, 0.5, 30.0])
def test_a_shared_log_tells_every_rank_what_private_histories_would(objective, latency):
    task = Task(objective, 1, 1.96)
    machine = Machine(6, draw, latency=latency, ask_cost=quarter, seed=3)
    expected = private(task, machine, 150.0)
    assert len(expected) > 60
    assert repr(shared(task, machine, 150.0)) == repr(expected)


def sorted_qucb(kappa, rng):
    """qUCB that depends on what is known, but not on the order in which it was heard."""

    def propose(known):
        evaluations = sorted(known.evaluations(), key=lambda e: (e.rank, e.seq))
        ordered = History(known.sign)
        ordered.extend([to_batch(e) for e in evaluations])
        return ask.propose(ordered, kappa, rng)

    return propose


def test_the_log_is_that_of_real_workers_on_a_real_network():
    task = Task(sphere, 1, 1.96)
    machine = Machine(5, draw, ask_cost=lambda n_known: 0.0, seed=11)
    loops, trial_rngs, durations, counts = [], [], [], [0] * 5
    known = [History() for _ in range(5)]
    for rank, transport in enumerate(in_process.network(5)):
        ask_rng, trial_rng, _ = machine.streams(rank)
        propose = sorted_qucb(task.kappa, ask_rng)
        loops.append(work(known[rank], propose, transport, lambda: False))
        trial_rngs.append(trial_rng)
        durations.append(machine.durations(rank))

    def begin(rank, now, point):
        finished = now + next(durations[rank])
        trial = Trial(known[rank].space, point, counts[rank] * 5 + rank, now, trial_rngs[rank])
        name = (rank, counts[rank])
        counts[rank] += 1
        return finished, rank, evaluate(sphere, trial, name, lambda: finished)

    running = [begin(rank, 0.0, next(loop)) for rank, loop in enumerate(loops)]
    heapq.heapify(running)
    expected = []
    while running[0][0] <= 120.0:
        now, rank, evaluation = heapq.heappop(running)
        expected.append(evaluation)
        heapq.heappush(running, begin(rank, now, loops[rank].send(evaluation)))
    assert len(expected) > 30
    assert repr(shared(task, machine, 120.0, sorted_qucb)) == repr(expected)


@pytest.mark.parametrize("latency", [0.0, 0.5])
def test_processes_do_not_change_the_log(latency):
    def run(processes):
        machine = Machine(7, draw, latency, ask_cost=quarter, seed=5, processes=processes)
        return repr(shared(Task(branching, 1, 1.96), machine, 60.0))

    assert run(1) == run(2) == run(3)


def test_an_overlay_leaves_no_trace():
    layout = Layout({"a": optuna.distributions.IntDistribution(0, 9)})
    other = Layout({"b": optuna.distributions.IntDistribution(0, 9)})

    def record(seq, value, of=layout, extras=NO_EXTRAS):
        state = TrialState.COMPLETE
        return to_batch(Evaluation(0, seq, state, value, 0.0, 1.0, of, (float(seq),), extras))

    known = SharedHistory(1)
    known.extend([record(0, 5.0), record(1, 4.0)])
    expected = known.evaluations(), known.elites.tolist(), dict(known.counts)
    first = record(2, 1.0, extras=Extras({"a": 1}))
    second = record(3, 1.0, other)
    for own in (first, first, second):
        with known.overlaid([own]):
            known.extend([own])
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


def listener(known):
    """A method whose ranks write down what they know at each ask."""

    def method(kappa, rng):
        me = len(known)
        known[me] = []

        def propose(history):
            known[me].append(sorted((e.rank, e.seq) for e in history.evaluations()))
            return np.empty(0)

        return propose

    return Method(method)


def test_ranks_know_a_record_only_after_the_latency():
    known = {}
    machine = Machine(2, lambda rng: 10.0, latency=3.0, ask_cost=lambda n_known: 1.0)
    list(decentralized(Task(sphere, 1, 1.96), machine, 32.0, method=listener(known)))
    # Both ask at 0, 11 and 22, but what the other finished at 22 arrives at 25.
    assert known[0] == [[], [(0, 0)], [(0, 0), (0, 1), (1, 0)]]
    assert known[1] == [[], [(1, 0)], [(0, 0), (1, 0), (1, 1)]]


def test_ranks_know_only_their_own_records_until_the_barrier():
    known = {}
    machine = Machine(2, lambda rng: 10.0, ask_cost=lambda n_known: 0.0)
    task = Task(sphere, 1, 1.96)
    list(synchronous(task, machine, 49.0, method=listener(known), evaluations=2))
    both = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert known[0][:4] == [[], [(0, 0)], both, sorted([*both, (0, 2)])]
    assert known[1][:4] == [[], [(1, 0)], both, sorted([*both, (1, 2)])]


def test_receiving_is_charged_by_the_record(monkeypatch):
    monkeypatch.setattr(virtual_ranks, "receive_seconds", lambda evaluation: 100.0)
    log = simulate(sphere, SimulationSettings(3, n_trials=40, duration="constant:100")).log
    for rank in range(3):
        mine, others = log[log["rank"] == rank], log[log["rank"] != rank]
        n_known = 0
        for before, after in itertools.pairwise(mine):
            n_now = np.count_nonzero(others["finished"] <= before["finished"])
            assert after["ask_seconds"] // 100.0 == n_now - n_known
            n_known = n_now


def test_evaluations_cut_by_the_end_do_not_count():
    run = partial(SimulationSettings, 3, seconds=35.0, duration="constant:10")
    free = simulate(sphere, run(ask_cost=0.0))
    costly = simulate(sphere, run(ask_cost=2.0))
    assert len(free.history) == 9
    assert free.utilization == free.attainable == pytest.approx(30 / 35)
    assert free.idle == 0
    assert len(costly.history) == 6
    assert costly.utilization == pytest.approx(20 / 35)
    assert costly.attainable == pytest.approx(30 / 35)
    assert costly.overhead == pytest.approx(15 / 35 * 35 * 3 / 6)
    assert costly.idle == pytest.approx(2.0)
    assert costly.log["ask_seconds"].tolist() == [2.0] * 6
    assert costly.log["finished"].tolist() == [12.0] * 3 + [24.0] * 3
    assert costly.log["started"].tolist() == [2.0] * 3 + [14.0] * 3


def test_the_measured_cost_of_an_ask_is_charged():
    log = simulate(sphere, SimulationSettings(4, n_trials=60)).log
    assert (log["ask_seconds"] > 0).all()
    for rank in range(4):
        mine = log[log["rank"] == rank]
        free = np.concatenate([[0.0], mine["finished"][:-1]])
        assert mine["started"] == pytest.approx(free + mine["ask_seconds"])


def test_it_ends_with_the_last_trial_asked_for():
    settings = SimulationSettings(4, n_trials=10, ask_cost=0.0, seconds=1e6)
    simulation = simulate(sphere, settings)
    assert len(simulation.history) == 10
    assert simulation.seconds == simulation.log["finished"][-1]
    assert not simulation.interrupted


def test_the_seed_decides():
    def run(seed):
        settings = SimulationSettings(4, n_trials=30, ask_cost=0.01, seed=seed, latency=0.1)
        return simulate(branching, settings).history.evaluations()

    assert repr(run(1)) == repr(run(1))
    assert repr(run(1)) != repr(run(2))


@pytest.mark.parametrize("processes", [1, 2])
def test_interruption_keeps_what_is_done(processes):
    calls = []

    def progress(fraction, best):
        calls.append((fraction, best))
        if len(calls) == 5:
            raise KeyboardInterrupt

    settings = SimulationSettings(4, n_trials=20, ask_cost=0.0, processes=processes)
    simulation = simulate(sphere, settings, progress)
    assert simulation.interrupted
    assert len(simulation.history) == 5
    assert simulation.seconds == simulation.log["finished"][-1]
    assert calls == [
        ((n + 1) / 20, best) for n, best in enumerate(simulation.best_so_far.tolist())
    ]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_death_of_a_process_keeps_what_is_done():
    """Killed for its memory, say."""

    def objective(trial):
        if trial.number == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        return sphere(trial)

    settings = SimulationSettings(4, n_trials=40, ask_cost=0.0, processes=2)
    simulation = simulate(objective, settings)
    assert "died" in simulation.failure
    assert 4 <= len(simulation.history) < 20


def test_a_bug_in_a_process_is_raised():
    def method(kappa, rng):
        def propose(history):
            raise ZeroDivisionError("a bug")

        return propose

    machine = Machine(4, draw, processes=2)
    with pytest.raises(RuntimeError, match="a bug"):
        list(decentralized(Task(sphere, 1, 1.96), machine, 10.0, method=Method(method)))


def test_failures_and_pruned_trials_have_no_part_in_the_best():
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        if trial.number % 3 == 0:
            raise ValueError("no")
        if trial.number % 3 == 1:
            trial.report(2.0, 0)
            raise optuna.TrialPruned
        return x

    settings = SimulationSettings(3, n_trials=30, ask_cost=0.0, direction="maximize")
    simulation = simulate(objective, settings)
    values = simulation.log["value"][simulation.history.column("state") == 1]
    best = simulation.best_so_far
    assert best[-1] == values.max() <= 1
    assert (np.diff(best[~np.isnan(best)]) >= 0).all()
    summary = json.loads(json.dumps(simulation.summary("name", "none").to_json()))
    assert summary["best_value"] == best[-1]
    assert summary["n_complete"] + summary["n_pruned"] + summary["n_fail"] == 30
    assert min(summary["n_complete"], summary["n_pruned"], summary["n_fail"]) > 0
    assert sum(summary["evaluations_per_rank"]) == 30
    assert summary["direction"] == "maximize"
    assert simulation.log["value"].size == 30


def test_nothing_finished_is_a_result_too():
    simulation = simulate(
        sphere, SimulationSettings(2, seconds=1.0, duration="constant:5", ask_cost=0.0)
    )
    summary = simulation.summary("name", "none")
    assert (summary.n_complete, summary.best_value, summary.utilization) == (0, None, 0)
    assert math.isnan(simulation.overhead)


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [
        ("normal:60,20", 60, 20),
        ("constant:3.5", 3.5, 0),
        ("exponential:2", 2, 2),
        ("lognormal:0,0.5", math.exp(0.125), math.exp(0.125) * math.sqrt(math.exp(0.25) - 1)),
    ],
)
def test_durations(text, mean, std):
    rng = np.random.default_rng(0)
    seconds = np.array([parse_duration(text)(rng) for _ in range(20_000)])
    assert seconds.min() >= 0
    assert seconds.mean() == pytest.approx(mean, rel=0.02)
    assert seconds.std() == pytest.approx(std, rel=0.03)


@pytest.mark.parametrize(
    "text", ["", "normal", "normal:60", "normal:a,b", "constant:0", "normal:60,-1", "weibull:1"]
)
def test_durations_that_make_no_sense(text):
    with pytest.raises(UsageError, match=r"must be (one of|positive)"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["lognormal:60,20", "lognormal:800,1", "lognormal:-1000,0", "constant:1e-300"]
)
def test_durations_for_which_no_clock_is_made(text):
    with pytest.raises(UsageError, match="evaluations must take from 1e-06 to 1e"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 0),
        ("n_trials", 0),
        ("seconds", -1.0),
        ("latency", -0.1),
        ("ask_cost", -1.0),
        ("method", "magic"),
        ("direction", "up"),
        ("seed", -1),
        ("kappa", -1.0),
        ("processes", 0),
    ],
)
def test_settings_that_make_no_sense(name, value):
    with pytest.raises(UsageError, match=f"^{name} is .*: it must be "):
        SimulationSettings(**{"workers": 2, "n_trials": 1, name: value})


def test_a_simulation_needs_an_end():
    with pytest.raises(UsageError, match="needs an end"):
        SimulationSettings(4)
