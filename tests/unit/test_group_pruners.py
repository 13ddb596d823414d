"""What the members of a group answer to `should_prune`: what their leader answers."""

from __future__ import annotations

import pickle
from collections import deque
from typing import Any

import optuna
import pytest
from optuna.pruners import ThresholdPruner

from adbo.core.history import History
from adbo.interruption.stopping import Interruption
from adbo.objective.trial import RankStudy
from adbo.run.groups import GroupLeader, MembersPruner, run_member


class Wire:
    """A `Channel` of a leader or of its only member, within this process."""

    comm = None
    size = 2
    is_idle = True

    def __init__(self, rank: int, incoming: deque[Any], outgoing: deque[Any]) -> None:
        self.rank = rank
        self._incoming = incoming
        self._outgoing = outgoing

    def tell(self, word: object) -> None:
        self._outgoing.append((self.rank, pickle.loads(pickle.dumps(word))))

    answer = tell

    def hear(self) -> tuple[int, Any] | None:
        return self._incoming.popleft() if self._incoming else None

    def abort(self, status: int) -> None:
        raise AssertionError


def _wires() -> tuple[Wire, Wire]:
    down: deque[Any] = deque()
    up: deque[Any] = deque()
    return Wire(0, up, down), Wire(1, down, up)


def _training(answers: list[bool], n_questions: int = 5) -> Any:
    def objective(trial: optuna.Trial) -> float:
        for step in range(n_questions):
            trial.report(step, step)
            answers.append(trial.should_prune())
            if answers[-1]:
                raise optuna.TrialPruned
        return 0.0

    return objective


@pytest.mark.parametrize("upper", [2.5, 9.0])
def test_all_ranks_of_a_group_answer_alike(upper: float) -> None:
    leader, member = _wires()
    told: list[bool] = []
    repeated: list[bool] = []
    study = RankStudy(History(), pruner=ThresholdPruner(upper=upper))
    evaluate = GroupLeader(_training(told), leader)
    for number in range(2):
        trial = study.begin((), number, 0.0, None)  # type: ignore[arg-type]
        member.answer("pruned" if upper == 2.5 else None)  # it will have said so
        if upper == 2.5:
            with pytest.raises(optuna.TrialPruned):
                evaluate(trial)
        else:
            assert evaluate(trial) == 0.0
    leader.tell(("done", 0))
    with Interruption(None) as interruption:
        assert run_member(_training(repeated), member, interruption) == 0
    assert repeated == told
    assert len(told) == (8 if upper == 2.5 else 10)


@pytest.mark.parametrize("leader_is_pruned", [True, False])
def test_a_rank_that_fails_fails_the_trial_that_others_prune(leader_is_pruned: bool) -> None:
    leader, member = _wires()
    leader.size = 3
    trial = RankStudy(History()).begin((), 0, 0.0, None)  # type: ignore[arg-type]

    def objective(trial: optuna.Trial) -> float:
        if leader_is_pruned:
            raise optuna.TrialPruned
        return 0.0

    member.answer("pruned")
    member.answer("ValueError: no mesh")
    with pytest.raises(RuntimeError, match="no mesh"):
        GroupLeader(objective, leader)(trial)


def test_a_member_that_asks_more_often_does_not_wait_for_ever() -> None:
    leader, member = _wires()
    pruner = MembersPruner(member)  # type: ignore[arg-type]
    for word in (("answer", True), ("left", None), ("done", 3)):
        leader.tell(word)
    answers = [pruner.prune(None, None) for _ in range(3)]  # type: ignore[arg-type]
    assert answers == [True, False, False]
    assert [pruner.hear(), pruner.hear()] == [(0, ("left", None)), (0, ("done", 3))]
