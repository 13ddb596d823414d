"""How this process was started: alone, or by an MPI launcher as one of many ranks.

MPI is imported only if a launcher was at work, so that everything else works without it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from adbo.comm.in_process import SingleRank
from adbo.core.errors import UsageError, one_line

if TYPE_CHECKING:
    from adbo.comm.mpi import MpiRanks
    from adbo.comm.protocols import Ranks

# Set for every rank: by MPICH, Intel MPI, Cray MPI and srun --mpi=pmi2; Open MPI; MVAPICH2.
_RANK = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK")
_SIZE = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def rank_hint(environ: Mapping[str, str] = os.environ) -> int:
    """The rank of this process as the launcher's environment has it; 0 if there is none.

    For messages before MPI is up: only the first rank prints them.
    """
    return _first_number(environ, (*_RANK, "SLURM_PROCID"), default=0)


def find_ranks(comm: Any = None) -> MpiRanks | SingleRank:
    """All ranks of this job.

    Parameters
    ----------
    comm
        An mpi4py communicator; None to look at how the process was started.

    Raises
    ------
    UsageError
        If a launcher started several processes but MPI cannot connect them.
    """
    size = _first_number(os.environ, _SIZE, default=1)
    launched = any(name in os.environ for name in _RANK)
    if comm is None and not launched:
        if size > 1:
            raise UsageError(
                f"srun started {size} tasks without MPI: use srun --mpi=pmi2 or --mpi=pmix"
                " (srun --mpi=list shows what there is), or mpirun"
            )
        return SingleRank()
    try:
        from adbo.comm.mpi import MpiRanks
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"no MPI library can be loaded ({one_line(error)}): load your cluster's"
            ' MPI module, or pip install "adbo[mpich]"'
        ) from None
    ranks = MpiRanks(comm)
    if comm is None and ranks.size == 1 and size > 1:
        raise UsageError(
            f"the launcher started {size} processes but MPI connects none of them: mpiexec and the"
            " MPI library that mpi4py loads must be of the same kind"
        )
    return ranks


def use_node(ranks: Ranks, gpus_per_node: int | None) -> None:
    """Give this rank its share of its node; all ranks together, before user code is loaded.

    Each rank sees one GPU, and numerical libraries start as many threads as it has processors,
    unless ``OMP_NUM_THREADS`` says otherwise.

    Parameters
    ----------
    ranks
        All ranks of the job.
    gpus_per_node
        GPUs of each node; None to leave them alone.
    """
    place, processors = ranks.node()
    if gpus_per_node is not None:
        # A batch system may have given this job some of the node's GPUs only.
        given = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        gpus = (given or [str(gpu) for gpu in range(gpus_per_node)])[:gpus_per_node]
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]
    if ranks.size > 1 and "OMP_NUM_THREADS" not in os.environ:
        mine = processors[place]
        sharing = sum(others == mine for others in processors)
        n_threads = max(1, len(mine) // sharing)
        os.environ["OMP_NUM_THREADS"] = str(n_threads)
        # What is loaded already has read the environment.
        threadpool_limits(n_threads)


def _first_number(environ: Mapping[str, str], names: tuple[str, ...], *, default: int) -> int:
    for name in names:
        text = environ.get(name, "")
        if text.isdigit():
            return int(text)
    return default
