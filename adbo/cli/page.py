"""The page of ``report --html``: written once, or again and again while a study goes on."""

from __future__ import annotations

import collections
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import optuna

from adbo.cli.output import INTERRUPTED, print_error
from adbo.core.errors import UsageError, one_line
from adbo.core.summary import Summary
from adbo.mirror.connection import StudyError, storage_name
from adbo.mirror.study import accessed, table_of
from adbo.report.page.columns import Collector, Columns
from adbo.report.page.document import StudyFacts, facts_of, page_of
from adbo.report.study import summarize_study

#: Reading a study again and again takes at most one part in this number of the time, so that the
#: database is left to the run.
_PAUSES = 5


@dataclass(frozen=True)
class _State:
    """A study as it was read."""

    facts: StudyFacts
    columns: Columns
    written: str

    def page(self, refresh_seconds: float | None = None) -> str:
        return page_of(self.facts, self.columns, self.written, refresh_seconds)


def write_once(
    study: optuna.Study, storage: str, path: Path, *, is_summarized: bool
) -> Summary | None:
    """Write the page of a study; return its summary, None if it is not asked for."""
    state, summary = _read(study, storage, is_summarized=is_summarized)
    _write(path, state.page())
    return summary


def watch(study: optuna.Study, storage: str, path: Path, seconds: float) -> int:
    """Write the page of a study again and again until Ctrl-C or SIGTERM; return the exit status.

    The last page stays as it is: browsers do not read it again.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    state: _State | None = None
    problem = ""
    try:
        print_error(f"{path} is written again every {seconds:g} s until Ctrl-C")
        while True:
            began = time.monotonic()
            try:
                state, _ = _read(study, storage, is_summarized=False)
                _write(path, state.page(seconds))
                problem = ""
            except StudyError as error:
                if one_line(error) != problem:
                    problem = one_line(error)
                    print_error(f"{problem}; trying again every {seconds:g} s")
            took = time.monotonic() - began
            time.sleep(max(seconds - took, _PAUSES * took))
    except KeyboardInterrupt:
        if state is not None:
            _write(path, state.page())
        return INTERRUPTED


def _read(
    study: optuna.Study, storage: str, *, is_summarized: bool
) -> tuple[_State, Summary | None]:
    """Read all trials once, for the page and, if it is asked for, for the summary."""
    facts = facts_of(study, storage)
    collector = Collector(facts.signs)
    written = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    summary = None
    with accessed("read"):
        rows = collector.passing(table_of(study).rows)
        if is_summarized:
            summary = summarize_study(study, storage_name(storage), rows)
        else:
            collections.deque(rows, maxlen=0)
    return _State(facts, collector.columns(), written), summary


def _write(path: Path, text: str) -> None:
    """Write a file at once, so that nobody reads a part of it."""
    try:
        if path.exists() and not path.is_file():  # such as /dev/stdout
            path.write_text(text, encoding="utf-8")
            return
        target = path.resolve()
        new = target.with_name(f".{target.name}.{os.getpid()}")
        new.write_text(text, encoding="utf-8")
        new.replace(target)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
