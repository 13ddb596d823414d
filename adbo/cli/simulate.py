"""The command ``simulate``: run an objective on virtual workers."""

from __future__ import annotations

import argparse
import signal
import sys
import time

import optuna

from adbo.cli.checks import simulation_storage, study_name
from adbo.cli.output import DONE, FAILED, INTERRUPTED, print_error, print_lines, write_json
from adbo.core.errors import one_line
from adbo.interruption.exits import ENDED_BY, exit_forbidden
from adbo.interruption.stopping import signals_ignored
from adbo.mirror.connection import StudyError, storage_name
from adbo.mirror.study import open_study, store
from adbo.mirror.waiting import told_of_waiting
from adbo.objective.loading import load
from adbo.report.live import SimulationBar
from adbo.report.text import common_failure, describe_simulation
from adbo.report.watched import is_watched
from adbo.simulation.settings import SimulationSettings
from adbo.simulation.simulate import Simulation, simulate


def run_simulation(options: argparse.Namespace, settings: SimulationSettings) -> int:
    """Run a simulation, store it if there is a storage, and return the exit status."""
    with exit_forbidden(f"the simulation vanished: the objective's file {ENDED_BY}"):
        objective = load(options.objective)
    storage = simulation_storage(options)
    name = study_name(options)
    study = None
    if storage is not None:
        with told_of_waiting(storage, print_error):
            study = open_study(storage, name, settings.direction, False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    live = is_watched(sys.stderr)
    with (
        SimulationBar(live=live, quiet=options.quiet) as bar,
        exit_forbidden(f"the simulation vanished: the objective {ENDED_BY}"),
    ):
        simulation = simulate(objective, settings, bar.update)
    stored_in = "none" if storage is None else storage_name(storage)
    status = DONE if study is None else _store(study, simulation)
    with signals_ignored():
        summary = simulation.summary(name, stored_in)
        is_told = write_json(options.json, summary.to_json())
        if not options.quiet:
            is_told &= print_lines(describe_simulation(summary), sys.stdout)
        return _status(simulation) or status or (DONE if is_told else FAILED)


def _status(simulation: Simulation) -> int:
    """Return the exit status of a simulation, and report what went wrong."""
    failure = common_failure(simulation.history)
    if failure is not None:
        print_error(f"no evaluation succeeded ({failure})")
    if simulation.failure is not None:
        print_error(f"{simulation.failure}; finished evaluations are kept")
    if failure is not None or simulation.failure is not None:
        return FAILED
    return INTERRUPTED if simulation.interrupted else DONE


def _store(study: optuna.Study, simulation: Simulation) -> int:
    """Store a simulation as if it had just ended, and return the status."""
    try:
        store(study, simulation.history.evaluations(), time.time() - simulation.seconds)
    except StudyError as error:
        print_error(one_line(error))
        return FAILED
    except KeyboardInterrupt:
        print_error("interrupted while storing: the study is incomplete")
        return INTERRUPTED
    return DONE
