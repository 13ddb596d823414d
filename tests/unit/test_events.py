"""The event loops: which records a rank knows when it asks."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

from adbo.optimizer.ask import Proposal
from adbo.simulation.events import ProcessDied, run_asynchronous, run_synchronous
from adbo.simulation.virtual_ranks import Machine, Method, Task


def sphere(trial):
    return sum(trial.suggest_float(f"x{i}", -5, 5) ** 2 for i in range(3))


def recording_method(known):
    """Return a method whose ranks record the names that they know at each ask."""

    def method(kappa, rng, part):
        me = len(known)
        known[me] = []

        def propose(history):
            known[me].append(sorted((e.rank, e.seq) for e in history.evaluations()))
            return Proposal(np.empty(0), 0)

        return propose

    return Method(method)


def test_ranks_know_a_record_only_after_the_latency():
    known = {}
    machine = Machine(2, lambda rng: 10.0, latency=3.0, ask_cost=lambda n_known: 1.0)
    list(run_asynchronous(Task(sphere, (1,), 1.96), machine, 32.0, method=recording_method(known)))
    # Both ask at 0, 11 and 22; an evaluation that finishes at 22 reaches the other rank at 25.
    assert known[0] == [[], [(0, 0)], [(0, 0), (0, 1), (1, 0)]]
    assert known[1] == [[], [(1, 0)], [(0, 0), (1, 0), (1, 1)]]


def test_ranks_know_records_of_other_jobs_only_after_the_job_latency():
    known = {}
    machine = Machine(4, lambda rng: 10.0, 3.0, lambda n_known: 1.0, jobs=2, job_latency=14.0)
    list(run_asynchronous(Task(sphere, (1,), 1.96), machine, 54.0, method=recording_method(known)))
    # All ask at 0, 11, 22, ...; what finished at 22 is known in the job at 25, to others at 36.
    of_ranks = [[(rank, seq) for seq in range(4)] for rank in range(4)]
    for rank in range(4):
        own, peer = of_ranks[rank], of_ranks[rank ^ 1]
        others = of_ranks[rank ^ 2], of_ranks[rank ^ 3]
        assert known[rank] == [
            [],
            own[:1],
            sorted([*own[:2], *peer[:1]]),
            sorted([*own[:3], *peer[:2], *others[0][:1], *others[1][:1]]),
            sorted([*own[:4], *peer[:3], *others[0][:2], *others[1][:2]]),
        ]


def test_a_record_is_known_at_the_moment_of_its_arrival():
    known = {}
    machine = Machine(4, lambda rng: 10.0, 10.0, lambda n_known: 0.0, jobs=2, job_latency=20.0)
    list(run_asynchronous(Task(sphere, (1,), 1.96), machine, 39.0, method=recording_method(known)))
    assert known[2][2] == [(2, 0), (2, 1), (3, 0)]
    assert known[2][3] == [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1)]


def test_ranks_know_only_their_own_records_until_the_barrier():
    known = {}
    machine = Machine(2, lambda rng: 10.0, ask_cost=lambda n_known: 0.0)
    task = Task(sphere, (1,), 1.96)
    list(run_synchronous(task, machine, 49.0, method=recording_method(known), evaluations=2))
    both = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert known[0][:4] == [[], [(0, 0)], both, sorted([*both, (0, 2)])]
    assert known[1][:4] == [[], [(1, 0)], both, sorted([*both, (1, 2)])]


def test_a_bug_in_a_process_is_raised():
    def method(kappa, rng, part):
        def propose(history):
            raise ZeroDivisionError("a bug")

        return propose

    machine = Machine(4, lambda rng: 10.0, processes=2)
    with pytest.raises(RuntimeError, match="a bug"):
        list(run_asynchronous(Task(sphere, (1,), 1.96), machine, 10.0, method=Method(method)))


def test_an_ask_for_a_process_that_has_died():
    machine = Machine(4, lambda rng: 10.0, ask_cost=lambda n_known: 1.0, processes=2)
    task = Task(sphere, (1,), 1.96)
    events = run_asynchronous(task, machine, 99.0, method=recording_method({}))
    earlier = multiprocessing.active_children()
    next(events)
    for child in set(multiprocessing.active_children()) - set(earlier):
        child.kill()
        child.join()
    with pytest.raises(ProcessDied):
        list(events)
