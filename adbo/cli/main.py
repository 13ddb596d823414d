"""The entry point of the command line.

Parsing and checking the options imports nothing heavy, so that ``--help`` and errors appear at
once. A command is imported only after its options have been checked.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from adbo.cli.checks import check_prediction, check_report, check_run, check_simulate
from adbo.cli.output import DONE, USAGE, prepare_streams, print_error
from adbo.cli.parser import make_parser
from adbo.comm.environment import rank_hint
from adbo.core.errors import UsageError, one_line

#: Seconds for which threads of an abandoned objective may go on at the end of a run.
_MOMENT = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Without the program's name; None for those of this process.

    Returns
    -------
    int
        0 done, 1 the run failed, 2 wrong usage, 130 after Ctrl-C, SIGTERM or SIGUSR1.
    """
    prepare_streams()
    words = list(sys.argv[1:] if arguments is None else arguments) or ["run"]
    try:
        options = make_parser().parse_args(words)
        return _COMMANDS[options.command](options)
    except UsageError as error:
        if rank_hint() > 0:
            # Only the first rank reports the error. If another one ended with an error before it,
            # some launchers would end the first rank before it has written its line.
            return DONE
        print_error(one_line(error))
        return USAGE


def _run(options: argparse.Namespace) -> int:
    settings = check_run(options)
    _make_absolute(options)
    from adbo.interruption.stopping import ended_by_ctrl_c

    with ended_by_ctrl_c():  # libraries take seconds to load, or minutes on thousands of ranks
        from adbo.cli.run import run

    status = run(options, settings)
    if _abandoned_threads_go_on():
        from adbo.comm.launch import end_despite_threads

        end_despite_threads(status)
    return status


def _abandoned_threads_go_on() -> bool:
    """Return whether threads of an abandoned objective work on, after a moment to end."""
    from adbo.interruption.stopping import abandoned_threads

    deadline = time.monotonic() + _MOMENT
    for thread in abandoned_threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return any(thread.is_alive() for thread in abandoned_threads)


def _simulate(options: argparse.Namespace) -> int:
    if options.from_study is not None:
        storage = check_prediction(options)
        from adbo.cli.predict import predict_from

        return predict_from(options, storage)
    settings = check_simulate(options)
    _make_absolute(options)
    from adbo.cli.simulate import run_simulation

    return run_simulation(options, settings)


def _report(options: argparse.Namespace) -> int:
    storage = check_report(options)
    from adbo.cli.report import report

    return report(options, storage)


def _jobscript(options: argparse.Namespace) -> int:
    from adbo.cli.jobscript import jobscript

    return jobscript(options)


def _make_absolute(options: argparse.Namespace) -> None:
    """Fix where the summary goes: objectives change directories."""
    if options.json is not None:
        options.json = options.json.absolute()


_COMMANDS = {"run": _run, "simulate": _simulate, "report": _report, "jobscript": _jobscript}
