"""The ranks of this process's job, and its part of the processors and GPUs of its node.

MPI is imported only in processes that a launcher started, or that pass a communicator.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from threadpoolctl import threadpool_limits

from adbo.comm.environment import is_launched, size_hint
from adbo.comm.in_process import SingleRank
from adbo.core.errors import UsageError, one_line
from adbo.core.streams import flush_all

if TYPE_CHECKING:
    from adbo.comm.mpi import MpiRanks
    from adbo.comm.protocols import Ranks


#: Environment variables by which `use_node` gives a rank its part of the node.
OF_NODE = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


def find_ranks(comm: Any = None) -> MpiRanks | SingleRank:
    """Return all ranks of this job.

    Parameters
    ----------
    comm
        An mpi4py communicator; None to use MPI only if a launcher started this process.

    Raises
    ------
    UsageError
        If a launcher started several processes but MPI cannot connect them.
    """
    size = size_hint()
    if comm is None and not is_launched():
        if size > 1:
            raise UsageError(
                f"srun started {size} tasks without MPI: use srun --mpi=pmi2 or --mpi=pmix"
                " (srun --mpi=list shows the available types), or mpirun"
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


def end_despite_threads(status: int) -> NoReturn:
    """End this process, and its part in MPI, although threads of it go on."""
    if "adbo.comm.mpi" in sys.modules:
        from adbo.comm.mpi import finalize

        finalize()
    flush_all()
    os._exit(status)


def use_node(ranks: Ranks, gpus_per_node: int | None) -> None:
    """Restrict this rank to its part of its node; collective, before user code is loaded.

    Each rank sees one GPU. Numerical libraries start as many threads as the rank has processors
    to itself, unless ``OMP_NUM_THREADS`` is set.

    Parameters
    ----------
    ranks
        All ranks of the job.
    gpus_per_node
        Number of GPUs of each node; None to leave the choice of GPUs unchanged.
    """
    place, processors = ranks.node()
    if gpus_per_node is not None:
        # A batch system may have given this job only some of the node's GPUs.
        given = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        gpus = (given or [str(gpu) for gpu in range(gpus_per_node)])[:gpus_per_node]
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]
    if ranks.size > 1 and "OMP_NUM_THREADS" not in os.environ:
        own = processors[place]
        n_sharing = sum(others == own for others in processors)
        n_threads = max(1, len(own) // n_sharing)
        os.environ["OMP_NUM_THREADS"] = str(n_threads)
        # Libraries that are already loaded have already read the environment.
        threadpool_limits(n_threads)
