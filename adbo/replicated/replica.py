"""One rank's copy of the studies that all ranks change: equal wherever the same changes arrived.

Changes may arrive in any order, and more than once. The changes of a trial are numbered, since one
rank at a time makes them, and are taken in the order of their versions. An attribute of a study is
that of the latest stamp, whoever set it. A deleted study stays deleted; a new one of its name has
the next incarnation. This module does not know how changes travel.

A *change* is a list of plain JSON values: clock, rank, kind, study name, incarnation, and what the
kind needs. Clock and rank are its *stamp*, a logical time that orders all changes (Lamport, Time,
clocks, and the ordering of events in a distributed system, 1978).
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adbo.core.trial_json import decode_trial, encode_trial
from adbo.replicated.trial_changes import changed

#: The name and the incarnation of a study.
Key = tuple[str, int]
Stamp = tuple[int, int]
Change = Sequence[Any]


@dataclass
class Entry:
    """A trial, its latest change, and which rank may change it."""

    study: Study
    trial: FrozenTrial
    version: int
    stamp: Stamp
    runner: int
    """Who evaluates it, or shall do so if it is waiting."""

    def advance(self, change: Change) -> None:
        """Make the next change of the trial."""
        clock, rank, kind, _, _, _, self.version, *arguments = change
        self.trial = changed(self.trial, kind, arguments)
        self.stamp = clock, rank
        if kind == "param":
            self.study.distributions[arguments[0]] = self.trial.distributions[arguments[0]]
        elif kind == "state":
            self.runner = rank
            self.note_waiting()

    def note_waiting(self) -> None:
        """Tell the study whether this trial waits."""
        if self.trial.state is TrialState.WAITING:
            self.study.waiting.add(self.trial.number)
        else:
            self.study.waiting.discard(self.trial.number)


@dataclass
class Study:
    """What is known of one study."""

    key: Key
    study_id: int
    """Of this copy alone."""
    directions: list[StudyDirection]
    attrs: dict[str, dict[str, Any]] = field(default_factory=lambda: {"user": {}, "system": {}})
    stamps: dict[tuple[str, str], Stamp] = field(default_factory=dict)
    """Of the attributes."""
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)
    """By trial number."""
    numbers: list[int] = field(default_factory=list)
    waiting: set[int] = field(default_factory=set)
    """Numbers of trials that wait to be evaluated."""

    def trials(self) -> list[FrozenTrial]:
        """All of them, by number."""
        return [self.entries[number].trial for number in self.numbers]

    def set_attr(self, stamp: Stamp, scope: str, name: str, value: Any) -> None:
        """Set an attribute, unless it was set later than that."""
        if stamp > self.stamps.get((scope, name), (-1, -1)):
            self.stamps[scope, name] = stamp
            # Replaced and not changed: somebody may be reading it.
            self.attrs[scope] = {**self.attrs[scope], name: value}

    def place(self, entry: Entry) -> None:
        """Add a trial, or put it in the place of what was known of it."""
        number = entry.trial.number
        if number not in self.entries:
            bisect.insort(self.numbers, number)
        self.entries[number] = entry
        entry.note_waiting()


class Replica:
    """All studies as far as this rank has heard."""

    def __init__(self) -> None:
        self.clock = 0
        self.known: dict[int, int] = {}  # of each rank, the clock of its latest change
        self.conflict: str | None = None  # what ranks cannot both have meant
        self.studies: dict[int, Study] = {}
        self.entries: dict[int, Entry] = {}
        self._by_key: dict[Key, Study] = {}
        self._deleted: dict[Key, Stamp] = {}
        self._n_studies = 0
        # What came before that which it changes.
        self._early: dict[Key, list[Change]] = {}
        self._early_versions: dict[int, dict[int, Change]] = {}

    def key(self, name: str) -> Key:
        """What a study of this name is called now, whether or not there is one."""
        incarnation = 0
        while (name, incarnation) in self._deleted:
            incarnation += 1
        return name, incarnation

    def find(self, key: Key) -> Study | None:
        """The study, if it is known."""
        return self._by_key.get(key)

    def apply(self, change: Change) -> None:
        """Take one change in, unless it is known."""
        clock, rank, kind, name, incarnation, *rest = change
        self.clock = max(self.clock, clock)
        self.known[rank] = max(self.known.get(rank, 0), clock)
        key, stamp = (name, incarnation), (clock, rank)
        study = self._by_key.get(key)
        if key in self._deleted or kind == "nothing":
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

    def since(self, rank: int, start: int, stop: int) -> list[Change]:
        """What became of the changes that a rank made after one clock and until another.

        With these, whoever knows the changes of that rank until ``start`` knows them until
        ``stop``.
        """

        def is_meant(stamp: Stamp) -> bool:
            return stamp[1] == rank and start < stamp[0] <= stop

        news: list[Change] = [
            [*stamp, "delete", *key] for key, stamp in self._deleted.items() if is_meant(stamp)
        ]
        for study in self.studies.values():
            directions = [direction.name for direction in study.directions]
            news.append([start, rank, "study", *study.key, directions])
            news += [
                [*stamp, "attr", *study.key, scope, name, study.attrs[scope][name]]
                for (scope, name), stamp in study.stamps.items()
                if is_meant(stamp)
            ]
            for entry in study.entries.values():
                if is_meant(entry.stamp):
                    trial = entry.trial
                    place = (trial._trial_id, entry.version, trial.number, entry.runner)
                    news.append([*entry.stamp, "trial", *study.key, *place, encode_trial(trial)])
        # Until the last one has arrived, not all is known, and the clock must not say so.
        return [*sorted(news, key=lambda change: change[0]), [stop, rank, "nothing", "", 0]]

    def abandon(self, rank: int) -> None:
        """What a dead rank was running has failed; every living one says so by itself."""
        for entry in self.entries.values():
            if entry.runner == rank and entry.trial.state is TrialState.RUNNING:
                entry.trial = changed(entry.trial, "state", ["FAIL", None, None])
                entry.version += 1

    def _create(self, key: Key, names: Sequence[str]) -> None:
        directions = [StudyDirection[name] for name in names]
        known = self._by_key.get(key)
        if known is None:
            known = Study(key, self._n_studies, directions)
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

    def _change_trial(self, study: Study, change: Change) -> None:
        clock, rank, kind, _, _, trial_id, version, *rest = change
        entry = self.entries.get(trial_id)
        if entry is not None and version <= entry.version:
            return
        if kind == "trial":
            number, runner, fields = rest
            trial = decode_trial(trial_id, number, fields)
            entry = Entry(study, trial, version, (clock, rank), runner)
            self.entries[trial_id] = entry
            study.place(entry)
        elif entry is None or version > entry.version + 1:
            self._early_versions.setdefault(trial_id, {})[version] = change
            return
        else:
            entry.advance(change)
        self._catch_up(entry)

    def _catch_up(self, entry: Entry) -> None:
        early = self._early_versions.pop(entry.trial._trial_id, {})
        while entry.version + 1 in early:
            entry.advance(early[entry.version + 1])
        later = {v: change for v, change in early.items() if v > entry.version}
        if later:
            self._early_versions[entry.trial._trial_id] = later


def _names(directions: Sequence[StudyDirection]) -> str:
    return ", ".join(direction.name.lower() for direction in directions)
