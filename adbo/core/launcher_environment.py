"""The environment of a program that a rank starts: that of the rank, without its MPI launcher.

A launcher gives each rank variables by which the MPI library finds its rank, its peers and the
launcher. A program that inherits them takes itself for this rank: ``MPI_Init`` fails, or waits for
peers that never come, and ``srun`` or ``mpiexec`` within the rank misbehave. Without them, the
program starts as from the batch script: alone, or by a launcher of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

#: Names of variables that belong to one rank, by who sets them.
_OF_RANKS = (
    # PMI: MPICH, Intel MPI, Cray MPI and srun --mpi=pmi2. PMI_FD names a file that is closed.
    r"PMI2?_.*",
    # MPICH's hydra and its relatives: the place on the node, and a pipe to the launcher.
    r"MPI_LOCALRANKID|MPI_LOCALNRANKS|HYDI_CONTROL_FD",
    r"MV2_COMM_WORLD_.*|MPISPAWN_.*",  # MVAPICH2
    r"PALS_.*|ALPS_APP_.*",  # Cray's launchers
    # PMIx: Open MPI and srun --mpi=pmix. A PMIX_MCA_ variable is a choice of the user.
    r"PMIX_(?!MCA_|PREFIX$).*",
    # Open MPI 5 and its launcher. Left: choices of the user, and where the library is installed.
    r"OMPI_(?!MCA_|PREFIX$|ALLOW_RUN_AS_ROOT).*",
    r"PRTE_(?!MCA_|PREFIX$|ALLOW_RUN_AS_ROOT).*",
    r"OMPI_MCA_(?:PREFIXES|cpu_type|initial_wdir|num_procs)",
    # Open MPI 4 hands ranks, jobs and addresses to them as if they were choices of the user.
    r"OMPI_MCA_(?:ess|pmix|ess_.*|orte_.*|shmem_RUNTIME_QUERY_hint)",
    r"JSM_.*|FLUX_TASK_.*",  # IBM's jsrun; Flux
    # Slurm, the task. Open MPI 4 takes a process with SLURM_STEPID for a task of srun.
    r"SLURM_(?:PROCID|LOCALID|NODEID|GTIDS|TASK_PID|STEPID|STEP_.*|STEPMGR)",
    # Slurm, how srun reached and bound the task. A srun within would take over these options.
    r"SLURM_(?:SRUN_COMM_.*|LAUNCH_NODE_IPADDR|MPI_TYPE|PMIX_.*|PMIXP_.*|PMI2_.*)",
    r"SLURM_(?:CPU_BIND|MEM_BIND|GPU_BIND|DISTRIBUTION)(?:_.*)?",
)

_RANK_VARIABLE = re.compile("|".join(f"(?:{pattern})" for pattern in _OF_RANKS))


def without_launcher(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those that an MPI launcher gave to this one rank.

    What describes the batch job (``SLURM_JOB_ID``, ``SLURM_NODELIST``, ...), the GPUs and the
    threads of the rank, and the user's choices (``OMPI_MCA_btl``, ...) stay.
    """
    return {name: text for name, text in environ.items() if not _RANK_VARIABLE.fullmatch(name)}


def program_environment() -> dict[str, str]:
    """Return the environment for a program that an objective starts.

    It is that of this process, without what the MPI launcher gave to its rank, so that the program
    may use MPI itself: alone, or started by ``srun`` or ``mpiexec``.

    Returns
    -------
    dict
        Names and values of the variables.

    Examples
    --------
    >>> import subprocess, adbo
    >>> def objective(trial):
    ...     x = trial.suggest_float("x", -5, 5)
    ...     command = ["./simulation", str(x)]
    ...     environment = adbo.program_environment()
    ...     run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    ...     return float(run.stdout)
    """
    return without_launcher(os.environ)
