"""The command ``report``: print and write how far a stored study is."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import optuna

from adbo.cli.checks import STANDARD_OUTPUT
from adbo.cli.output import DONE, FAILED, print_error, print_lines, write_json
from adbo.core.errors import UsageError
from adbo.core.limits import MOST_OBJECTIVES
from adbo.mirror.connection import storage_name
from adbo.mirror.study import accessed, load_study, table_of
from adbo.mirror.waiting import told_of_waiting
from adbo.report.study import summarize_study
from adbo.report.table import write_table
from adbo.report.text import describe_study


def report(options: argparse.Namespace, storage: str) -> int:
    """Print and write the state of a stored study, and return the exit status."""
    with told_of_waiting(storage, print_error):
        study = load_study(storage, options.study_name)
    if options.watch is not None:
        from adbo.cli.page import watch

        return watch(study, storage, options.html, options.watch)
    if options.csv is not None:
        try:
            with _opened(options.csv) as file, accessed("read"):
                write_table(file, table_of(study))
        except OSError as error:
            raise UsageError(f"cannot write {options.csv}: {error.strerror}") from None
    is_summarized = _is_summarized(study, options)
    summary = None
    if options.html is not None:
        from adbo.cli.page import write_once

        summary = write_once(study, storage, options.html, is_summarized=is_summarized)
    elif is_summarized:
        with accessed("read"):
            summary = summarize_study(study, storage_name(storage))
    if summary is not None:
        is_done = write_json(options.json, summary.to_json())
        if options.csv != STANDARD_OUTPUT:
            is_done &= print_lines(describe_study(summary), sys.stdout)
        return DONE if is_done else FAILED
    return DONE


def _is_summarized(study: optuna.Study, options: argparse.Namespace) -> bool:
    """Return whether to print or to write a summary.

    Raises
    ------
    UsageError
        If nothing else was asked for, and the study has too many objectives.
    """
    n_objectives = len(study.directions)
    if n_objectives <= MOST_OBJECTIVES:
        return options.json is not None or options.csv != STANDARD_OUTPUT
    if options.json is not None or (options.csv is None and options.html is None):
        raise UsageError(
            f"study {study.study_name!r} has {n_objectives} objectives: a summary describes at"
            f" most {MOST_OBJECTIVES}; use --html PATH for a page, or --csv PATH for the trials"
        )
    return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a file to write CSV; do not complain if the reader of standard output has ended."""
    if path != STANDARD_OUTPUT:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    sys.stdout.flush()
    file = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
    try:
        yield file
        file.flush()
    except BrokenPipeError:
        # Otherwise Python would complain when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        file.detach()
