"""One rank's replica of the studies that all ranks change.

Replicas that have applied the same changes are equal, in whatever order the changes arrived, and
however often. Only one rank at a time changes a trial, so the changes of a trial have version
numbers and are applied in their order. The value of a study's attribute is the one with the latest
stamp. A deleted study stays deleted; a new study of the same name is its next incarnation. This
module does not know how changes travel.

A *change* is a list of plain JSON values: clock, rank, kind, study name, incarnation, and the
arguments of the kind. Clock and rank are its *stamp*, a logical time that orders all changes
(Lamport, Time, clocks, and the ordering of events in a distributed system, 1978).
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adbo.core.trial_json import decode_trial
from adbo.replicated.trial_changes import changed

#: The name and the incarnation of a study.
Key = tuple[str, int]
Stamp = tuple[int, int]
Change = Sequence[Any]


@dataclass
class ReplicatedTrial:
    """A trial, its latest change, and the rank that may change it."""

    study: ReplicatedStudy
    trial: FrozenTrial
    version: int
    stamp: Stamp
    runner: int
    """The rank that runs the trial, or shall run it if it is waiting."""

    def advance(self, change: Change) -> None:
        """Apply the next change of the trial."""
        clock, rank, kind, _, _, _, self.version, *arguments = change
        self.trial = changed(self.trial, kind, arguments)
        self.stamp = clock, rank
        if kind == "param":
            self.study.distributions[arguments[0]] = self.trial.distributions[arguments[0]]
        elif kind == "state":
            self.runner = rank
            self.note_waiting()

    def note_waiting(self) -> None:
        """Update the study's set of waiting trials."""
        if self.trial.state is TrialState.WAITING:
            self.study.waiting.add(self.trial.number)
        else:
            self.study.waiting.discard(self.trial.number)


@dataclass
class ReplicatedStudy:
    """A study as far as this rank knows it."""

    key: Key
    study_id: int
    """Valid on this rank only."""
    directions: list[StudyDirection]
    attrs: dict[str, dict[str, Any]] = field(default_factory=lambda: {"user": {}, "system": {}})
    stamps: dict[tuple[str, str], Stamp] = field(default_factory=dict)
    """(scope, name) of an attribute to the stamp of its value."""
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    entries: dict[int, ReplicatedTrial] = field(default_factory=dict)
    """Trial number to trial."""
    numbers: list[int] = field(default_factory=list)
    waiting: set[int] = field(default_factory=set)
    """Numbers of the waiting trials."""

    def trials(self) -> list[FrozenTrial]:
        """Return all trials in the order of their numbers."""
        return [self.entries[number].trial for number in self.numbers]

    def set_attr(self, stamp: Stamp, scope: str, name: str, value: Any) -> None:
        """Set an attribute, unless its value has a later stamp."""
        if stamp > self.stamps.get((scope, name), (-1, -1)):
            self.stamps[scope, name] = stamp
            # A new dict, since a thread may be reading the old one.
            self.attrs[scope] = {**self.attrs[scope], name: value}

    def place(self, entry: ReplicatedTrial) -> None:
        """Add a trial, or replace what was known of it."""
        number = entry.trial.number
        if number not in self.entries:
            bisect.insort(self.numbers, number)
        self.entries[number] = entry
        entry.note_waiting()


class Replica:
    """All studies, as far as this rank knows them."""

    def __init__(self) -> None:
        self.clock = 0
        self.conflict: str | None = None  # a contradiction between ranks
        self.studies: dict[int, ReplicatedStudy] = {}
        self.entries: dict[int, ReplicatedTrial] = {}
        self._by_key: dict[Key, ReplicatedStudy] = {}
        self._deleted: dict[Key, Stamp] = {}
        self._n_studies = 0
        # Changes that arrived before what they change.
        self._early: dict[Key, list[Change]] = {}
        self._early_versions: dict[int, dict[int, Change]] = {}

    def key(self, name: str) -> Key:
        """Return the key of the current incarnation of a study, which need not exist."""
        incarnation = 0
        while (name, incarnation) in self._deleted:
            incarnation += 1
        return name, incarnation

    def find(self, key: Key) -> ReplicatedStudy | None:
        """Return the study, or None if it is unknown."""
        return self._by_key.get(key)

    def apply(self, change: Change) -> None:
        """Apply one change, unless it was applied before."""
        clock, rank, kind, name, incarnation, *rest = change
        self.clock = max(self.clock, clock)
        key, stamp = (name, incarnation), (clock, rank)
        study = self._by_key.get(key)
        if key in self._deleted:
            return
        if kind == "study":
            self._create(key, rest[0])
        elif kind == "delete":
            self._delete(key, stamp)
        elif study is None:
            self._early.setdefault(key, []).append(change)
        elif kind == "attr":
            study.set_attr(stamp, *rest)
        else:
            self._change_trial(study, change)

    def abandon(self, rank: int) -> None:
        """Fail the running trials of a dead rank; every survivor does so by itself."""
        for entry in self.entries.values():
            if entry.runner == rank and entry.trial.state is TrialState.RUNNING:
                entry.trial = changed(entry.trial, "state", ["FAIL", None, None])
                entry.version += 1

    def _create(self, key: Key, names: Sequence[str]) -> None:
        directions = [StudyDirection[name] for name in names]
        known = self._by_key.get(key)
        if known is None:
            known = ReplicatedStudy(key, self._n_studies, directions)
            self._n_studies += 1
            self._by_key[key] = self.studies[known.study_id] = known
            for change in self._early.pop(key, []):
                self.apply(change)
        elif known.directions != directions:
            self.conflict = (
                f"ranks created the study {key[0]!r} with different directions:"
                f" {_names(known.directions)} and {_names(directions)}"
            )

    def _delete(self, key: Key, stamp: Stamp) -> None:
        self._deleted[key] = stamp
        self._early.pop(key, None)
        study = self._by_key.pop(key, None)
        if study is not None:
            del self.studies[study.study_id]
            for entry in study.entries.values():
                del self.entries[entry.trial._trial_id]
        self._early_versions = {
            trial_id: early
            for trial_id, early in self._early_versions.items()
            if any((change[3], change[4]) != key for change in early.values())
        }

    def _change_trial(self, study: ReplicatedStudy, change: Change) -> None:
        clock, rank, kind, _, _, trial_id, version, *rest = change
        entry = self.entries.get(trial_id)
        if entry is not None and version <= entry.version:
            return
        if kind == "trial":
            number, runner, fields = rest
            trial = decode_trial(trial_id, number, fields)
            entry = ReplicatedTrial(study, trial, version, (clock, rank), runner)
            self.entries[trial_id] = entry
            study.place(entry)
        elif entry is None or version > entry.version + 1:
            self._early_versions.setdefault(trial_id, {})[version] = change
            return
        else:
            entry.advance(change)
        self._catch_up(entry)

    def _catch_up(self, entry: ReplicatedTrial) -> None:
        early = self._early_versions.pop(entry.trial._trial_id, {})
        while entry.version + 1 in early:
            entry.advance(early[entry.version + 1])
        later = {v: change for v, change in early.items() if v > entry.version}
        if later:
            self._early_versions[entry.trial._trial_id] = later


def _names(directions: Sequence[StudyDirection]) -> str:
    return ", ".join(direction.name.lower() for direction in directions)
