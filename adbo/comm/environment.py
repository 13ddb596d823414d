"""The environment variables by which launchers tell a process its rank and the number of ranks."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Set for every rank by, in this order: MPICH, Intel MPI, Cray MPI and srun --mpi=pmi2; Open MPI;
# MVAPICH2; for the rank, srun --mpi=pmix; for the size, srun.
_RANK = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK")
_SIZE = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def is_launched(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether an MPI launcher started this process."""
    return any(name in environ for name in _RANK)


def rank_hint(environ: Mapping[str, str] = os.environ) -> int:
    """Return the rank of this process according to its launcher; 0 without a launcher.

    It is known before MPI is initialized, so that only the first rank reports wrong usage.
    """
    return _first_number(environ, (*_RANK, "SLURM_PROCID"), default=0)


def size_hint(environ: Mapping[str, str] = os.environ) -> int:
    """Return the number of processes that the launcher started; 1 without a launcher."""
    return _first_number(environ, _SIZE, default=1)


def process_name(environ: Mapping[str, str] = os.environ) -> str:
    """Return what to call this process in a message."""
    return f"rank {rank_hint(environ)}" if size_hint(environ) > 1 else "the process"


def _first_number(environ: Mapping[str, str], names: tuple[str, ...], *, default: int) -> int:
    for name in names:
        text = environ.get(name, "")
        if text.isdigit():
            return int(text)
    return default
