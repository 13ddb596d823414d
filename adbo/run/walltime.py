"""The time limit of the Slurm job, before which a run ends."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from adbo.core.settings import Settings

if TYPE_CHECKING:
    from adbo.comm.protocols import Ranks

#: Time for the last messages, the database and the end of all processes, before the time limit:
#: this fraction of the time left at the start of the run, within these bounds in seconds.
RESERVE_FRACTION, RESERVE_MIN, RESERVE_MAX = 0.05, 5.0, 60.0

#: Seconds to wait for an answer of Slurm's controller; without one, no time limit is assumed.
_ANSWER_SECONDS = 10.0


def within_walltime(settings: Settings, ranks: Ranks) -> Settings:
    """Return the settings with the time at which a Slurm job requires the run to end.

    Collective: only rank 0 asks Slurm. The end is a time of day, on which the clocks of a cluster
    agree, since ranks reach the start of a run at different times.
    """
    walltime = ranks.share(lambda: last_moment(os.environ, time.time()))
    return replace(settings, walltime=walltime)


def last_moment(
    environ: Mapping[str, str], now: float, patience: float = _ANSWER_SECONDS
) -> float | None:
    """Return when a run that begins now should end, in seconds since the epoch.

    Parameters
    ----------
    environ
        The process's environment variables.
    now
        Seconds since the epoch.
    patience
        Seconds to wait for an answer of Slurm's controller.

    Returns
    -------
    float or None
        None outside of a Slurm job, and in a job without a time limit.
    """
    end = _job_end(environ, patience)
    if end is None:
        return None
    return end - min(max(RESERVE_FRACTION * (end - now), RESERVE_MIN), RESERVE_MAX)


def _job_end(environ: Mapping[str, str], patience: float) -> float | None:
    """Return when Slurm ends this job, in seconds since the epoch, None if that is unknown."""
    job = environ.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        return None
    known = environ.get("SLURM_JOB_END_TIME", "")  # only newer versions of Slurm set it
    if known.isdigit() and int(known) > 0:
        return float(known)
    try:
        answer = subprocess.run(
            ["scontrol", "show", "job", _array_task(environ) or job, "--oneliner"],
            capture_output=True,
            text=True,
            timeout=patience,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\bEndTime=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", answer)
    return None if found is None else datetime.fromisoformat(found[1]).timestamp()


def _array_task(environ: Mapping[str, str]) -> str | None:
    """Return the name of this task of a job array, whose job id may mean the whole array."""
    array, task = (environ.get(f"SLURM_ARRAY_{name}_ID", "") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array.isdigit() and task.isdigit() else None
