"""Survivors end with the same records of failed ranks."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from adbo.comm.failover import EvaluationStreams, Failover
from adbo.comm.in_process import network
from adbo.core.evaluation import Evaluation, Layout, to_batch
from adbo.core.history import History
from adbo.core.job import Job

JOB = Job(3)
LAYOUT = Layout({"x": FloatDistribution(0, 1)})


def _evaluation(rank: int, seq: int) -> Evaluation:
    seq += JOB.first_seq
    return Evaluation(rank, seq, TrialState.COMPLETE, 1.0, 0.0, 1.0, LAYOUT, (0.5,))


def _of_another_job(rank: int) -> Evaluation:
    return dataclasses.replace(_evaluation(rank, 0), seq=7)


@given(
    prefixes=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    deaths=st.integers(1, 2),
    data=st.data(),
)
def test_all_survivors_get_what_one_of_them_has(prefixes: list[int], deaths: int, data) -> None:
    """Ranks die after sending prefixes of different lengths to the survivors."""
    n = len(prefixes)
    transports = network(n + deaths)
    histories = [History() for _ in range(n)]
    failovers = [
        Failover(EvaluationStreams(history, JOB, 0, transport), transport)
        for history, transport in zip(histories, transports, strict=False)
    ]
    longest = {}
    for dead in range(n, n + deaths):
        known = data.draw(st.permutations(prefixes))
        longest[dead] = max(known)
        for history, length in zip(histories, known, strict=True):
            history.extend([to_batch(_of_another_job(dead))])
            history.extend(to_batch(_evaluation(dead, seq)) for seq in range(length))
    # The survivors notice the deaths in any order.
    for rank in data.draw(st.permutations(range(n))):
        transports[rank].failed = set(range(n, n + deaths))
        failovers[rank].attend()
    for _ in range(4):
        for rank in data.draw(st.permutations(range(n))):
            received = transports[rank].receive()
            histories[rank].extend(received.batches)
            failovers[rank].note(received.death_notices)
            failovers[rank].attend()
    for history, failover in zip(histories, failovers, strict=True):
        assert failover.agreed
        for dead, length in longest.items():
            assert int((history.column("rank") == dead).sum()) == length + 1


def test_survivors_agree_only_after_all_have_reported() -> None:
    transports = network(3)
    histories = [History() for _ in range(2)]
    failovers = [
        Failover(EvaluationStreams(h, JOB, 0, t), t)
        for h, t in zip(histories, transports, strict=False)
    ]
    assert failovers[0].agreed
    transports[0].failed = {2}
    failovers[0].attend()
    assert not failovers[0].agreed
    transports[1].failed = {2}
    failovers[1].attend()
    failovers[0].note(transports[0].receive().death_notices)
    failovers[0].attend()
    assert failovers[0].agreed
    assert failovers[0].lowest == 0
