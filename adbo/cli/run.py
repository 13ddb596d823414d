"""The command ``run``: optimize an objective on all ranks of this job."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from dataclasses import replace
from pathlib import Path

from adbo.cli.checks import check_files, check_group_size, is_isolated
from adbo.cli.on_exit import OnExit
from adbo.cli.output import DONE, FAILED, INTERRUPTED, USAGE, print_error, print_lines, write_json
from adbo.cli.points import read_points
from adbo.comm.environment import process_name
from adbo.comm.launch import OF_NODE, find_ranks, use_node
from adbo.comm.protocols import Ranks
from adbo.core.errors import RankDied, UsageError
from adbo.core.settings import Settings
from adbo.core.streams import is_terminal
from adbo.core.summary import Summary
from adbo.interruption.exits import ENDED_BY, exit_forbidden
from adbo.interruption.stopping import Interruption, StopReason, ended_by_ctrl_c
from adbo.mirror.connection import absolute
from adbo.objective.evaluate import Objective
from adbo.objective.isolation import IsolatedObjective
from adbo.objective.loading import is_working_directory, load, load_both
from adbo.report.live import Quiet, Terminal
from adbo.report.text import common_failure, describe_run
from adbo.report.watched import is_watched
from adbo.run.ends import describe
from adbo.run.execute import Outcome, Reporter, execute
from adbo.run.groups import ENDED_IN_GROUP, GroupLeader, await_leader, run_member
from adbo.run.hooks import Hooks
from adbo.run.walltime import within_walltime


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Run this rank, and return its exit status."""
    with contextlib.ExitStack() as stack:
        isolated = None
        if is_isolated(options):
            isolated = IsolatedObjective(options.objective, options.trial_timeout)
            stack.callback(isolated.close)
            isolated.start()  # before MPI, which may not like that a process is started
        return _run(options, settings, isolated)


def _run(
    options: argparse.Namespace, settings: Settings, isolated: IsolatedObjective | None
) -> int:
    with ended_by_ctrl_c():
        ranks = find_ranks()
    try:
        return _run_on(ranks, options, settings, isolated)
    except RankDied as error:
        if error.speaks:
            print_error(str(error))
        # Open MPI's launcher may never end if many ranks end with another status.
        ranks.depart(FAILED if error.speaks else 0)
        raise


def _run_on(
    ranks: Ranks,
    options: argparse.Namespace,
    settings: Settings,
    isolated: IsolatedObjective | None,
) -> int:
    settings = _with_points(within_walltime(settings, ranks), options.enqueue, ranks)
    use_node(ranks, options.gpus_per_node)
    storage, place = settings.storage, Path.cwd()
    fixed = absolute(storage) if isinstance(storage, str) else storage
    objective, settings = _objective(options, settings, ranks, isolated)
    if not is_working_directory(place):  # importing the objective has changed it
        settings = replace(settings, storage=fixed)
    if options.ranks_per_trial == 1:
        return _optimize(objective, settings, ranks, options, Hooks(ended_by_ctrl_c))
    check_group_size(options.ranks_per_trial, ranks.size)
    leaders, channel = ranks.groups(options.ranks_per_trial)
    if channel.rank > 0:
        with ended_by_ctrl_c():
            ended = await_leader(channel)
        if ended is not None:
            return ended
        limits = (settings.timeout, settings.walltime)  # they count on all ranks from now on
        with Interruption(*limits, process_name(), ENDED_IN_GROUP) as interruption:
            return run_member(objective, channel, interruption, settings.allowed)
    leader = GroupLeader(objective, channel)
    hooks = Hooks(ended_by_ctrl_c, leader.begin, ended_by=ENDED_IN_GROUP)
    status = USAGE
    try:
        status = _optimize(leader, settings, leaders, options, hooks)
    finally:
        leader.dismiss(status)
    return status


def _with_points(settings: Settings, path: Path | None, ranks: Ranks) -> Settings:
    """Return the settings with the points of --enqueue; only rank 0 reads the file."""
    if path is None:
        return settings
    return replace(settings, enqueue=ranks.share(lambda: read_points(path)))


def _objective(
    options: argparse.Namespace,
    settings: Settings,
    ranks: Ranks,
    isolated: IsolatedObjective | None,
) -> tuple[Objective, Settings]:
    """Load the objective, and what it allows, on every rank; an error of any is raised on all."""
    objective: Objective | None = isolated
    problem = None
    vanished = f"{process_name()} vanished: the objective's file, or a library that it imports,"
    try:
        check_files(options)
        if isolated is not None:
            isolated.load({name: os.environ[name] for name in OF_NODE if name in os.environ})
        if isolated is None or options.allowed is not None:
            with exit_forbidden(f"{vanished} {ENDED_BY}"):
                loaded, settings = _load(options, settings)
            objective = objective or loaded
    except UsageError as error:
        problem = str(error)
    problems = [text for text in ranks.agree(problem) if text is not None]
    if problems:
        raise UsageError(problems[0])
    assert objective is not None
    return objective, settings


def _load(options: argparse.Namespace, settings: Settings) -> tuple[Objective, Settings]:
    if options.allowed is None:
        return load(options.objective), settings
    objective, allowed = load_both(options.objective, options.allowed)
    return objective, replace(settings, allowed=allowed)


def _optimize(
    objective: Objective,
    settings: Settings,
    ranks: Ranks,
    options: argparse.Namespace,
    hooks: Hooks,
) -> int:
    """Run one rank or the leader of a group, report how the run ended, and return the status."""
    reporter: Reporter = Quiet(sys.stderr)  # for messages of the mirror
    if ranks.rank == 0 and not options.quiet:
        reporter = Terminal(sys.stderr, live=is_watched(sys.stderr))
    on_exit = OnExit(options.on_exit)

    def on_error(summary: Summary) -> None:
        on_exit.run(summary, _written(summary, options.json))

    hooks = replace(hooks, error=on_error)
    outcome = execute(objective, settings, ranks, reporter, hooks=hooks)
    status = _status(outcome)
    if outcome.is_owner:
        status = _report(outcome, status, options, on_exit)
        if outcome.missing:
            ranks.abort(status)
    if outcome.failed:
        ranks.depart(status)
    return status


def _report(outcome: Outcome, status: int, options: argparse.Namespace, on_exit: OnExit) -> int:
    """Report how the run ended; return its status, which is a failure if that is not possible."""
    summary = _summary(outcome, status)
    if outcome.contradiction is not None:
        print_error(outcome.contradiction)
        on_exit.run(summary)
        return status
    if not _print_end(outcome, summary, options):
        summary = replace(summary, status=status or FAILED)
    path = _written(summary, options.json)
    if path != options.json:
        summary = replace(summary, status=status or FAILED)
    on_exit.run(summary, path, outcome.reason)
    assert summary.status is not None
    return summary.status


def _status(outcome: Outcome) -> int:
    if outcome.contradiction is not None:
        return USAGE
    if outcome.reason is not None and outcome.reason.is_signal:
        return INTERRUPTED
    if outcome.missing or outcome.n_unwritten or _failure(outcome) is not None:
        return FAILED
    return DONE


def _summary(outcome: Outcome, status: int) -> Summary:
    """Return the summary of the run, with its status and why it ended."""
    reason = outcome.contradiction or describe(outcome.reason, outcome.state)
    return replace(outcome.summary, status=status, reason=reason)


def _written(summary: Summary, path: Path | None) -> Path | None:
    """Write a summary; return the path, or None if that was not possible."""
    return path if write_json(path, summary.to_json()) else None


def _print_end(outcome: Outcome, summary: Summary, options: argparse.Namespace) -> bool:
    """Print the last lines of the run, and return whether they could be; on one rank."""
    is_told = True
    if not options.quiet:
        # Launchers read both streams through pipes and may swap them: if a person watches the live
        # line on standard error, the lines after it are written there, too.
        piped = is_watched(sys.stderr) and not is_terminal(sys.stderr)
        lines = describe_run(summary, outcome.reason)
        is_told = print_lines(lines, sys.stderr if piped else sys.stdout)
    failure = _failure(outcome)
    if failure is not None:
        print_error(failure)
    if outcome.died:
        print_error(f"ranks {outcome.died} died")
    if outcome.missing:
        print_error(f"ranks {outcome.missing} did not answer")
    return is_told


def _failure(outcome: Outcome) -> str | None:
    """Return that the evaluations of this run failed, if it ended for that or all of them did."""
    if outcome.reason is StopReason.FAILURES:
        return describe(outcome.reason, outcome.state)
    reason = common_failure(outcome.history, outcome.state.n_before)
    return None if reason is None else f"no evaluation succeeded ({reason})"
