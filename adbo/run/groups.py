"""Several ranks for each evaluation: the leader of a group optimizes, all its members evaluate.

The leader tells its members of a trial. Every member calls the objective with an equal trial, so
that all suggest the same values, and answers whether it succeeded. What `should_prune` answers on
the leader it answers on the members, too, each time that all call it.

An interruption reaches the ranks of a group at different lines of the objective. One that waits in
MPI for another one, which has been interrupted before, waits forever. So ranks that do not answer
after an interruption are given up, and the job is aborted.
"""

from __future__ import annotations

import math
import sys
import time
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import BaseTrial, FrozenTrial

from adbo.comm.backoff import Backoff
from adbo.comm.environment import process_name
from adbo.comm.protocols import Channel
from adbo.core.allowed import Predicate
from adbo.core.evaluation import Batch
from adbo.core.history import History
from adbo.core.streams import write
from adbo.interruption.exits import ENDED_BY
from adbo.interruption.stopping import EvaluationAbandoned, Interruption, StopReason
from adbo.objective.evaluate import Objective, describe_error
from adbo.objective.proposal import Point, ProposalSampler
from adbo.objective.rank_storage import RankStorage, RunningTrial
from adbo.objective.trial import RankStudy, Trial
from adbo.objective.trial_server import TrialServer

#: Longest sleep, in seconds, between two looks for a message of the group; it delays evaluations.
_LONGEST_PAUSE = 2e-3

#: The exit status of a job that a member ends.
_FAILED = 1

#: What a message says of what has ended a rank in the objective. Where it waits for others, MPI
#: calls exit in C if another rank has ended the job.
ENDED_IN_GROUP = f"{ENDED_BY}, or another rank has ended the job"

#: What a member answers if the objective was pruned.
_PRUNED = "pruned"

#: Words of the leader during a trial: what its pruner answered, and that it left the objective.
_ANSWER, _LEFT = "answer", "left"

#: Seconds for which a leader that ends waits for its members.
_PATIENCE = 10.0

#: Seconds for which a member that was interrupted waits until the leader has left the objective.
#: The mirror's thread meanwhile writes what is finished.
_PATIENCE_WITH_LEADER = 15.0


class GroupTrial(NamedTuple):
    """What a member needs to begin the same trial as the leader."""

    study_name: str
    signs: tuple[int, ...]
    """+1 to minimize, -1 to maximize, for each objective."""
    news: list[Batch]
    """The rows of the leader's history that the members do not have yet."""
    proposal: Point
    running: RunningTrial
    rng: np.random.Generator


class LeadersPruner(BasePruner):
    """Tells the members each answer of a pruner."""

    def __init__(self, pruner: BasePruner, channel: Channel) -> None:
        self._pruner = pruner
        self._channel = channel

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial ends, for the whole group."""
        ends = self._pruner.prune(study, trial)
        self._channel.tell((_ANSWER, ends))
        return ends


class MembersPruner(BasePruner):
    """Repeats the answers of the leader's pruner, and waits for each of them.

    Parameters
    ----------
    channel
        The way to the leader.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        #: A word that was heard while waiting, and that another part of this rank must see.
        self.heard: tuple[int, Any] | None = None

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return the next answer; False if the leader has left the objective."""
        backoff = _backoff()
        while self.heard is None:
            heard = self._channel.hear()
            if heard is None:
                backoff.pause()
            elif heard[1][0] == _ANSWER:
                return bool(heard[1][1])
            else:
                self.heard = heard
        return False

    def hear(self) -> tuple[int, Any] | None:
        """Return the next word of the leader, or None if none has arrived."""
        heard, self.heard = self.heard, None
        return heard or self._channel.hear()


class GroupLeader:
    """An objective that the whole group of the leader evaluates.

    Parameters
    ----------
    objective
        The user's function, called on every rank of the group. The trial's ``comm`` is the
        communicator of the group.
    channel
        The way to the members.
    """

    def __init__(self, objective: Objective, channel: Channel) -> None:
        self._objective = objective
        self._channel = channel
        self._n_told = 0  # rows of the history that the members know

    def begin(self) -> None:
        """Tell the members that the run begins, and the time limit counts."""
        self._channel.tell(("begin", None))

    def __call__(self, trial: BaseTrial) -> Any:
        """Evaluate together, and return the value of the leader.

        Raises
        ------
        optuna.TrialPruned
            If any rank of the group raised it, and none failed.
        RuntimeError
            If the objective failed on any other rank.
        EvaluationAbandoned
            If it was abandoned on any rank.
        """
        assert isinstance(trial, Trial)
        self._channel.tell(("trial", self._group_trial(trial)))
        trial.comm = self._channel.comm
        if not isinstance(trial.study.pruner, LeadersPruner):
            trial.study.pruner = LeadersPruner(trial.study.pruner, self._channel)
        try:
            self._await_delivery()
            return self._evaluate(trial)
        except (EvaluationAbandoned, KeyboardInterrupt):
            self._channel.tell(("abandoned", None))
            raise

    def _await_delivery(self) -> None:
        """Wait until the members, which are all listening, can begin without this rank."""
        backoff = _backoff()
        while not self._channel.is_idle:
            backoff.pause()

    def _evaluate(self, trial: BaseTrial) -> Any:
        value, is_pruned = None, False
        try:
            value = self._objective(trial)
        except (EvaluationAbandoned, KeyboardInterrupt):
            raise  # do not wait for the members
        except optuna.TrialPruned:
            is_pruned = True
        except BaseException:
            self._leave()
            raise
        outcomes = self._leave()
        for rank, outcome in outcomes:
            if outcome not in (None, _PRUNED):
                raise RuntimeError(f"rank {rank} of the group: {outcome}")
        if is_pruned or any(outcome == _PRUNED for _, outcome in outcomes):
            raise optuna.TrialPruned
        return value

    def _leave(self) -> list[tuple[int, str | None]]:
        """Tell the members that this rank has left the objective; return their outcomes."""
        self._channel.tell((_LEFT, None))
        return self._gather()

    def dismiss(self, status: int) -> None:
        """Tell the members to end with an exit status; abort the job if one does not."""
        self._channel.tell(("done", status))
        deadline = time.monotonic() + _PATIENCE
        left = self._channel.size - 1
        backoff = _backoff()
        while left and time.monotonic() < deadline:
            heard = self._channel.hear()
            if heard is None:
                backoff.pause()
            elif heard[1] == "bye":
                left -= 1
        if left:
            self._channel.abort(status)

    def _group_trial(self, trial: Trial) -> GroupTrial:
        """Return a trial that begins, with what the rank has learned since the last one."""
        storage, sampler = trial.storage, trial.study.sampler
        assert isinstance(storage, RankStorage)
        assert isinstance(sampler, ProposalSampler)
        history = storage.history
        news = history.batches(self._n_told)
        self._n_told = len(history)
        return GroupTrial(
            trial.study.study_name,
            history.signs,
            news,
            sampler.proposal,
            storage.running,
            sampler.rng,
        )

    def _gather(self) -> list[tuple[int, str | None]]:
        """Return each member's rank and why it failed, or None."""
        outcomes: list[tuple[int, str | None]] = []
        backoff = _backoff()
        while len(outcomes) < self._channel.size - 1:
            heard = self._channel.hear()
            if heard is None:
                backoff.pause()
                continue
            if isinstance(heard[1], StopReason):
                raise EvaluationAbandoned(heard[1])
            outcomes.append(heard)
        return outcomes


def await_leader(channel: Channel) -> int | None:
    """Wait until the leader begins the run; return the exit status if it does not.

    The leader may wait for the database before that.
    """
    backoff = _backoff()
    while (heard := channel.hear()) is None:
        backoff.pause()
    kind, content = heard[1]
    if kind == "begin":
        return None
    channel.answer("bye")
    return int(content)


def run_member(
    objective: Objective,
    channel: Channel,
    interruption: Interruption,
    allowed: Predicate | None = None,
) -> int:
    """Evaluate with the leader until dismissed.

    Parameters
    ----------
    objective
        The user's function.
    channel
        The way to the leader.
    interruption
        Abandons an evaluation.
    allowed
        See `adbo.core.settings.Settings`.

    Returns
    -------
    int
        The exit status.
    """
    backoff = _backoff()
    pruner = MembersPruner(channel)
    knowledge = _MemberKnowledge(channel.comm, pruner, allowed)
    deadline = math.inf
    while True:
        heard = pruner.hear()
        if heard is None:
            if time.monotonic() > deadline:
                _give_up(channel)
            backoff.pause()
            continue
        kind, content = heard[1]
        if kind in (_ANSWER, _LEFT):
            continue
        backoff.reset()
        deadline = math.inf
        if kind == "done":
            knowledge.close()
            channel.answer("bye")
            return int(content)
        if kind == "trial":
            trial = knowledge.begin(content)
            outcome = _outcome(objective, trial, interruption)
            channel.answer(outcome)
            if isinstance(outcome, StopReason):
                deadline = time.monotonic() + _PATIENCE_WITH_LEADER


class _MemberKnowledge:
    """What a member of a group knows: what its leader has told it."""

    def __init__(self, comm: Any, pruner: BasePruner, allowed: Predicate | None = None) -> None:
        self._comm = comm
        self._pruner = pruner
        self._allowed = allowed
        self._study: RankStudy | None = None
        self._server: TrialServer | None = None  # for processes that the objective starts

    def begin(self, told: GroupTrial) -> Trial:
        """Learn what is new, and begin the trial of the leader."""
        if self._study is None:
            history = History(told.signs)
            self._study = RankStudy(
                history, told.study_name, pruner=self._pruner, allowed=self._allowed
            )
            self._server = TrialServer(self._study)
        self._study.storage.history.extend(told.news)
        trial = self._study.resume(told.proposal, told.running, told.rng)
        trial.comm = self._comm
        return trial

    def close(self) -> None:
        """Answer no process any more."""
        if self._server is not None:
            self._server.close()


def _give_up(channel: Channel) -> None:
    """Abort the job because the leader has not left the objective."""
    write(
        f"adbo: {process_name()} was interrupted, but the leader of its group did not stop: it"
        " waits in MPI, or computes; what was finished is kept",
        sys.stderr,
    )
    channel.abort(_FAILED)


def _backoff() -> Backoff:
    return Backoff(longest=_LONGEST_PAUSE)


def _outcome(
    objective: Objective, trial: Trial, interruption: Interruption
) -> str | StopReason | None:
    """Call the objective; return why it failed or why it was abandoned, or None."""
    try:
        interruption.call(objective, trial)
    except optuna.TrialPruned:
        return _PRUNED
    except EvaluationAbandoned:
        return interruption.reason
    except BaseException as error:
        return describe_error(error)
    return None
