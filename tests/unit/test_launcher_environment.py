"""The environment of a program that a rank starts: no trace of the rank's launcher."""

from __future__ import annotations

import pytest

import adbo
from adbo.core.launcher_environment import without_launcher

# fmt: off
OF_THE_RANK = [
    "PMI_RANK", "PMI_SIZE", "PMI_FD", "PMI_HOSTNAME", "PMI_PORT", "PMI_ID", "PMI_JOBID",
    "PMI_SPAWNED", "PMI2_PMIX_MAPPING", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "HYDI_CONTROL_FD",
    "PMIX_RANK", "PMIX_NAMESPACE", "PMIX_SERVER_URI41", "PMIX_SERVER_TMPDIR", "PMIX_GDS_MODULE",
    "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_UNIVERSE_SIZE", "OMPI_FILE_LOCATION",
    "OMPI_MCA_PREFIXES", "OMPI_MCA_initial_wdir", "OMPI_MCA_num_procs", "PRTE_LAUNCHED",
    "OMPI_MCA_ess", "OMPI_MCA_ess_base_vpid", "OMPI_MCA_orte_hnp_uri", "OMPI_MCA_pmix",
    "MV2_COMM_WORLD_RANK", "PALS_RANKID", "JSM_NAMESPACE_RANK", "FLUX_TASK_RANK",
    "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_GTIDS", "SLURM_TASK_PID",
    "SLURM_STEPID", "SLURM_STEP_ID", "SLURM_STEP_NODELIST", "SLURM_SRUN_COMM_HOST",
    "SLURM_SRUN_COMM_PORT", "SLURM_LAUNCH_NODE_IPADDR", "SLURM_MPI_TYPE", "SLURM_CPU_BIND",
    "SLURM_PMIX_MAPPING_SERV", "SLURM_CPU_BIND_LIST", "SLURM_DISTRIBUTION",
]

OF_THE_JOB_OR_THE_USER = [
    "PATH", "HOME", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTHONPATH",
    "SLURM_JOB_ID", "SLURM_JOBID", "SLURM_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NTASKS",
    "SLURM_NNODES", "SLURM_CONF", "SLURM_CPUS_PER_TASK", "SLURM_TASKS_PER_NODE", "SLURM_OVERLAP",
    "SLURMD_NODENAME", "OMPI_MCA_btl", "OMPI_MCA_pml", "OMPI_ALLOW_RUN_AS_ROOT",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OPAL_PREFIX", "PRTE_ALLOW_RUN_AS_ROOT", "PMIX_PREFIX",
    "PRTE_MCA_rmaps_default_mapping_policy", "PMIX_MCA_gds", "MV2_ENABLE_AFFINITY",
    "MPIR_CVAR_CH4_NETMOD", "FI_PROVIDER", "I_MPI_FABRICS", "I_MPI_PMI_LIBRARY",
    "HYDRA_LAUNCHER", "FLUX_URI",
]
# fmt: on


@pytest.mark.parametrize("name", OF_THE_RANK)
def test_what_the_launcher_gave_to_the_rank_is_removed(name: str) -> None:
    assert without_launcher({name: "1", "HOME": "/h"}) == {"HOME": "/h"}


def test_the_job_and_what_users_chose_are_kept() -> None:
    environ = dict.fromkeys(OF_THE_JOB_OR_THE_USER, "1")
    assert without_launcher(environ) == environ


def test_the_public_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_RANK", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    environment = adbo.program_environment()
    assert "PMI_RANK" not in environment
    assert environment["OMP_NUM_THREADS"] == "2"
