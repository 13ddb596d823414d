"""The replicated storage: Optuna's tests of a storage, and several ranks that change it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState, create_trial

import adbo
from adbo.comm.in_process import network
from adbo.core.wire import Decoder, Received, message
from adbo.replicated.replica import Key, Replica
from adbo.replicated.replicator import Replicator
from adbo.replicated.storage import ReplicatedStorage

MINIMIZE = [StudyDirection.MINIMIZE]
X = FloatDistribution(0, 1)
KIND = CategoricalDistribution(("a", 1, None))


class TestAlone(StorageTestCase):
    """Optuna's tests of a storage."""

    @pytest.fixture
    def storage(self) -> ReplicatedStorage:
        return adbo.storage()


def _storages(size: int) -> list[ReplicatedStorage]:
    return [ReplicatedStorage(Replicator(t), "token") for t in network(size)]


def _joined(size: int) -> tuple[list[ReplicatedStorage], list[optuna.Study]]:
    storages = _storages(size)
    studies = [
        optuna.create_study(
            storage=s, study_name="s", sampler=optuna.samplers.RandomSampler(seed=0)
        )
        for s in storages
    ]
    return storages, studies


def _content(replica: Replica) -> dict[Key, Any]:
    """Return all that must be equal, as text since NaN does not equal itself."""
    return {
        study.key: (study.directions, study.attrs, [str(trial) for trial in study.trials()])
        for study in sorted(replica.studies.values(), key=lambda study: study.key)
    }


def _replica(storage: ReplicatedStorage) -> Replica:
    storage.get_all_studies()  # receives
    return storage._replicator.replica


#: What a rank may do with the study of some name, given a number.
ACTIONS: list[Callable[[ReplicatedStorage, int, int], object]] = [
    lambda storage, study, n: storage.create_new_trial(study),
    lambda storage, study, n: storage.create_new_trial(study),
    lambda storage, study, n: storage.create_new_trial(
        study, create_trial(state=TrialState.WAITING, user_attrs={"n": n})
    ),
    lambda storage, study, n: storage.create_new_trial(
        study,
        create_trial(
            value=n,
            params={"x": 0.25, "kind": None},
            distributions={"x": X, "kind": KIND},
            intermediate_values={3: float("nan")},
        ),
    ),
    lambda storage, study, n: storage.set_study_user_attr(study, f"a{n % 2}", n),
    lambda storage, study, n: storage.set_study_system_attr(study, f"a{n % 2}", [n]),
    lambda storage, study, n: storage.delete_study(study) if n == 0 else None,
]
TRIAL_ACTIONS: list[Callable[[ReplicatedStorage, int, int], object]] = [
    lambda storage, trial, n: storage.set_trial_state_values(trial, TrialState.RUNNING),
    lambda storage, trial, n: storage.set_trial_param(trial, "x", n / 20, X),
    lambda storage, trial, n: storage.set_trial_param(trial, "kind", n % 3, KIND),
    lambda storage, trial, n: storage.set_trial_intermediate_value(trial, n % 4, n / 7),
    lambda storage, trial, n: storage.set_trial_user_attr(trial, f"u{n % 3}", {"n": [n]}),
    lambda storage, trial, n: storage.set_trial_system_attr(trial, f"s{n % 3}", n),
    lambda storage, trial, n: storage.set_trial_state_values(trial, TrialState.COMPLETE, [n]),
    lambda storage, trial, n: storage.set_trial_state_values(trial, TrialState.FAIL),
]


def _act(storage: ReplicatedStorage, name: str, action: int, n: int) -> None:
    """Do something that this rank may do at this time, or nothing."""
    study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)._study_id
    if action < len(ACTIONS):
        ACTIONS[action](storage, study, n)
        return
    unfinished = [
        trial._trial_id for trial in storage.get_all_trials(study) if not trial.state.is_finished()
    ]
    if unfinished:
        action -= len(ACTIONS)
        with contextlib.suppress(RuntimeError):  # it belongs to another rank
            TRIAL_ACTIONS[action](storage, unfinished[n % len(unfinished)], n)


#: What a transport returns if nothing has arrived.
NOTHING = Received([], [], [], [])


def _changes(frames: Iterable[bytes]) -> list[list[Any]]:
    """Return the changes of studies in frames."""
    return Decoder().decode([message(frames)]).changes


class Network:
    """The network between ranks: records what is sent, and can delay what is received."""

    def __init__(self, storages: list[ReplicatedStorage]) -> None:
        self.published: list[bytes] = []
        self.is_deaf = False
        for storage in storages:
            self._wrap(storage._replicator._transport)

    def _wrap(self, transport: Any) -> None:
        send, receive = transport.send, transport.receive

        def record(*frames: bytes) -> None:
            self.published.extend(frames)
            send(*frames)

        transport.send = record
        transport.receive = lambda: NOTHING if self.is_deaf else receive()


@settings(max_examples=50)
@given(
    actions=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.booleans(),
            st.sampled_from(["s", "t"]),
            st.integers(0, len(ACTIONS) + len(TRIAL_ACTIONS) - 1),
            st.integers(0, 5),
        ),
        min_size=20,
        max_size=60,
    ),
    random=st.randoms(use_true_random=False),
)
def test_replicas_converge_under_any_order_and_duplication(actions, random) -> None:
    storages = _storages(3)
    between_ranks = Network(storages)
    for rank, is_deaf, name, action, n in actions:
        between_ranks.is_deaf = is_deaf
        _act(storages[rank], name, action, n)
    between_ranks.is_deaf = False
    content = _content(_replica(storages[0]))
    assert _content(_replica(storages[1])) == content
    assert _content(_replica(storages[2])) == content
    # The transport delivered the changes of a rank in order; a replica accepts any order.
    replica = Replica()
    twice = 2 * between_ranks.published
    random.shuffle(twice)
    for change in _changes(twice):
        replica.apply(change)
    assert _content(replica) == content


def test_ids_and_numbers_are_unique_without_communication() -> None:
    storages = _storages(3)
    seen = []
    for rank, storage in enumerate(storages):
        study = storage.create_new_study(MINIMIZE, "s")
        other = storage.create_new_study(MINIMIZE, "t")
        for i in range(4):
            trial = storage.create_new_trial(other if i == 2 else study)
            seen.append(trial)
            assert storage.get_trial_number_from_id(trial) == rank + 3 * [0, 1, 0, 2][i]
    assert sorted(seen) == list(range(12))
    for storage in storages:
        study = storage.get_study_id_from_name("s")
        assert [t.number for t in storage.get_all_trials(study)] == list(range(9))
        for trial in storage.get_all_trials(study):
            found = storage.get_trial_id_from_study_id_trial_number(study, trial.number)
            assert found == trial._trial_id
            assert storages[0].get_trial(found) == trial


def test_each_rank_may_create_a_study_once() -> None:
    storages, _ = _joined(2)
    storages[0].set_study_user_attr(storages[0].get_study_id_from_name("s"), "a", 1)
    for storage in storages:
        assert [study.user_attrs for study in storage.get_all_studies()] == [{"a": 1}]
        with pytest.raises(DuplicatedStudyError):
            storage.create_new_study(MINIMIZE, "s")


def test_studies_without_a_name_are_the_same_in_the_order_of_creation() -> None:
    storages = _storages(2)
    ids = [[s.create_new_study(MINIMIZE) for _ in range(2)] for s in storages]
    names = [
        [storage.get_study_name_from_id(i) for i in found]
        for storage, found in zip(storages, ids, strict=True)
    ]
    assert names[0] == names[1]
    assert len(set(names[0])) == 2


def test_a_deleted_study_stays_deleted_whatever_others_do_to_it() -> None:
    storages, studies = _joined(3)
    between_ranks = Network(storages)
    between_ranks.is_deaf = True
    storages[0].delete_study(studies[0]._study_id)
    studies[1].tell(studies[1].ask(), 1.0)
    studies[2].set_user_attr("a", 1)
    between_ranks.is_deaf = False
    assert [storage.get_all_studies() for storage in storages] == [[], [], []]
    again = [optuna.create_study(storage=s, study_name="s") for s in (*storages[1:], storages[0])]
    assert [study.trials for study in again] == [[], [], []]


def test_different_directions_are_an_error_on_every_rank() -> None:
    storages = _storages(2)
    storages[0].create_new_study(MINIMIZE, "s")
    with pytest.raises(RuntimeError, match="different directions: minimize and maximize"):
        storages[1].create_new_study([StudyDirection.MAXIMIZE], "s")
    with pytest.raises(RuntimeError, match="different directions"):
        storages[0].get_all_studies()


def test_only_the_rank_that_runs_a_trial_changes_it() -> None:
    storages, studies = _joined(2)
    trial = studies[0].ask()._trial_id
    assert storages[1].get_trial(trial).state is TrialState.RUNNING
    with pytest.raises(RuntimeError, match="trial 0 belongs to rank 0"):
        storages[1].set_trial_user_attr(trial, "a", 1)
    assert not storages[1].set_trial_state_values(trial, TrialState.RUNNING)


def test_running_trials_are_known_with_what_they_reported() -> None:
    _, studies = _joined(2)
    trial = studies[0].ask()
    x = trial.suggest_float("x", 0, 1)
    trial.report(0.5, step=1)
    (seen,) = studies[1].get_trials(states=(TrialState.RUNNING,))
    assert seen.params == {"x": x}
    assert seen.intermediate_values == {1: 0.5}


def test_enqueued_trials_go_round_and_run_once() -> None:
    _, studies = _joined(3)
    for x in range(4):
        studies[1].enqueue_trial({"x": x / 10})
    asked = {rank: [studies[rank].ask() for _ in range(2)] for rank in (0, 2, 1)}
    fixed = {
        rank: [studies[rank]._storage.get_trial_system_attrs(t._trial_id) for t in trials]
        for rank, trials in asked.items()
    }
    assert fixed == {
        1: [{"fixed_params": {"x": 0.0}}, {"fixed_params": {"x": 0.3}}],
        2: [{"fixed_params": {"x": 0.1}}, {}],
        0: [{"fixed_params": {"x": 0.2}}, {}],
    }


def test_waiting_trials_of_a_rank_that_left_return_to_their_maker() -> None:
    storages, studies = _joined(2)
    for x in (0.1, 0.2):
        studies[0].enqueue_trial({"x": x})
    assert storages[1].close(timeout=0) == [0]
    taken = [studies[0].ask().suggest_float("x", 0, 1) for _ in range(2)]
    assert taken == [0.1, 0.2]


def test_others_run_the_trials_that_a_rank_enqueued_before_it_left() -> None:
    storages, studies = _joined(3)
    studies[2].enqueue_trial({"x": 0.1})
    storages[2].close(timeout=0)
    assert studies[1].ask().suggest_float("x", 0, 1) != 0.1
    assert studies[0].ask().suggest_float("x", 0, 1) == 0.1
    assert studies[0].ask().suggest_float("x", 0, 1) != 0.1


def test_a_closed_storage_is_read_only() -> None:
    storages, studies = _joined(2)
    studies[0].optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert storages[0].close(timeout=0) == [1]
    studies[1].optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert storages[1].close(timeout=0) == []
    assert storages[0].close() == []
    assert storages[1].close() == []
    assert studies[0].trials == studies[1].trials
    assert len(studies[0].trials) == 5
    with pytest.raises(RuntimeError, match="closed"):
        studies[0].ask()


def test_values_that_json_cannot_hold_are_refused_without_effect() -> None:
    _, studies = _joined(2)
    trial = studies[0].ask()
    with pytest.raises(TypeError):
        trial.set_user_attr("a", object())
    trial.set_user_attr("b", (1, 2))
    assert studies[0].trials[0].user_attrs == {"b": [1, 2]}
    assert studies[0].trials == studies[1].trials


def _die(storages: list[ReplicatedStorage], rank: int) -> None:
    """Let all others notice the death of a rank."""
    for storage in storages:
        storage._replicator._transport._mail.failed.add(rank)


@given(n_sent=st.integers(0, 9), heard_by=st.sampled_from([0, 1]), order=st.permutations([0, 1]))
def test_survivors_agree_on_the_changes_of_a_dead_rank(
    n_sent: int, heard_by: int, order: list[int]
) -> None:
    """A rank dies after some of its changes have reached one of the survivors."""
    storages, studies = _joined(3)
    for storage in storages:
        _replica(storage)
    mail = storages[2]._replicator._transport._mail
    posted: list[tuple[int, bytes]] = []
    mail.post = lambda peer, data: posted.append((peer, data))
    studies[2].set_user_attr("a", 1)
    studies[2].tell(studies[2].ask({"x": X}), 1.0)
    trial = studies[2].ask({"x": X})
    trial.report(1.0, 1)
    studies[2].enqueue_trial({"x": 0.5})
    del mail.post
    heard = [data for peer, data in posted if peer == heard_by][:n_sent]
    for data in heard:
        mail.post(heard_by, data)
    _replica(storages[heard_by])
    _die(storages[:2], 2)
    for _ in range(3):
        for rank in order:
            _replica(storages[rank])
    content = _content(_replica(storages[0]))
    assert _content(_replica(storages[1])) == content
    trials = studies[0].trials
    starts = [sum(b'"trial"' in data for data in heard)]
    assert [t.number for t in trials] == [2, 5, 8][: starts[0]]
    for trial in trials:
        assert trial.state is not TrialState.RUNNING


def test_a_trial_taken_over_from_a_dead_rank_is_known_to_all() -> None:
    storages, studies = _joined(3)
    for storage in storages:
        _replica(storage)
    mail = storages[2]._replicator._transport._mail
    post = mail.post
    mail.post = lambda peer, data: post(peer, data) if peer == 0 else None
    for x in (0.1, 0.2):
        studies[2].enqueue_trial({"x": x})
    trial = studies[0].ask()
    assert trial.suggest_float("x", 0, 1) == 0.2
    _die(storages[:2], 2)
    for storage in [*storages[:2], *storages[:2]]:
        _replica(storage)
    studies[0].tell(trial, 1.0)
    assert studies[1].trials == studies[0].trials
    assert [t.state.name for t in studies[1].trials] == ["WAITING", "COMPLETE"]
    # A trial that nobody has started belongs to the lowest living rank.
    assert studies[1].ask().suggest_float("x", 0, 1) != 0.1
    assert studies[0].ask().suggest_float("x", 0, 1) == 0.1


@pytest.mark.parametrize(
    "sampler",
    [
        optuna.samplers.TPESampler(seed=0, constant_liar=True, n_startup_trials=4),
        optuna.samplers.NSGAIISampler(seed=0, population_size=4),
        optuna.samplers.QMCSampler(seed=0),
        adbo.QUCBSampler(seed=0),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_samplers_run_on_ranks_that_take_turns(sampler: optuna.samplers.BaseSampler) -> None:
    _, studies = _joined(3)
    for study in studies:
        study.sampler = sampler
        study.pruner = optuna.pruners.SuccessiveHalvingPruner()

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        for step in range(1, 4):
            trial.report(x**2 / step, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x**2

    for _ in range(5):
        for study in studies:
            study.optimize(objective, n_trials=1)
    assert len(studies[0].trials) == 15
    assert studies[0].best_trial == studies[1].best_trial
