"""The tunables of the mirror."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """How many evaluations the mirror writes at once, and how often it tries.

    Parameters
    ----------
    batch
        Evaluations per transaction. Larger batches make other programs wait longer for the
        database; smaller ones cost more per evaluation.
    interval
        Seconds between two looks at the source, hence the age at which others see an evaluation.
    first_pause, longest_pause
        Seconds before the first and before later new attempts at a failing database. Each pause
        is twice the one before it.
    longest_closing_pause
        Upper bound of the pauses, in seconds, while the end of the run waits for the mirror.
    poll
        Seconds between two looks of the closing thread at the progress of the mirror.
    max_failures_alone
        Failures of an evaluation in a batch of its own, with others stored in between, after which
        the evaluation is taken for the cause and set aside.
    growth_after
        Successful batches after which a reduced batch size doubles.
    """

    batch: int = 1000
    interval: float = 1.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    longest_closing_pause: float = 2.0
    poll: float = 0.05
    max_failures_alone: int = 8
    growth_after: int = 100


@dataclass(frozen=True)
class ConnectionSettings:
    """How persistently a database is opened.

    Parameters
    ----------
    busy_seconds
        Seconds for which SQLite waits while another process reads or writes the file.
    attempts, pause
        How often opening is tried, and seconds in between: another process, such as a dashboard,
        may be creating the same tables.
    """

    busy_seconds: float = 60.0
    attempts: int = 4
    pause: float = 0.3


@dataclass(frozen=True)
class MirrorSettings:
    """The tunables of the mirror of a run.

    Parameters
    ----------
    pace, connection
        Those of writing and of connecting.
    page
        Evaluations that the mirror takes from the history at once.
    patience, interrupted_patience
        Seconds without progress after which the end of a run gives up the database. An interrupted
        run has less: Slurm kills a job 30 s after its SIGTERM unless configured otherwise.
    """

    pace: Pace = Pace()
    connection: ConnectionSettings = ConnectionSettings()
    page: int = 1000
    patience: float = 60.0
    interrupted_patience: float = 10.0


DEFAULTS = MirrorSettings()
