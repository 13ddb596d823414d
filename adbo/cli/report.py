"""The command ``report``: print how far a stored study is."""

from __future__ import annotations

import argparse

from adbo.cli.output import DONE, print_error, write_json
from adbo.mirror.connection import storage_name
from adbo.mirror.study import load_study
from adbo.mirror.waiting import told_of_waiting
from adbo.report.study import summarize_study
from adbo.report.text import describe_study


def report(options: argparse.Namespace, storage: str) -> int:
    """Print and write the summary of a stored study, and return the exit status."""
    with told_of_waiting(storage, print_error):
        study = load_study(storage, options.study_name)
    summary = summarize_study(study, storage_name(storage))
    write_json(options.json, summary)
    print("\n".join(describe_study(summary)))
    return DONE
