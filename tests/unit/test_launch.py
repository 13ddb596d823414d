"""How a process was started, as its environment tells."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from adbo.comm import launch
from adbo.comm.environment import rank_hint
from adbo.comm.in_process import SingleRank
from adbo.comm.launch import find_ranks, use_node
from adbo.core.errors import UsageError

LAUNCHERS = {
    "MPICH": {"PMI_RANK": "2", "PMI_SIZE": "4"},
    "Open MPI": {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"},
    "MVAPICH2": {"MV2_COMM_WORLD_RANK": "2", "MV2_COMM_WORLD_SIZE": "4"},
    "srun --mpi=pmix": {"PMIX_RANK": "2", "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4"},
}
launchers = pytest.mark.parametrize("variables", LAUNCHERS.values(), ids=LAUNCHERS.keys())


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may themselves run under a launcher."""
    for name in os.environ:
        if name.startswith(("PMI", "OMPI_", "MV2_", "SLURM_")):
            monkeypatch.delenv(name)


class Connected:
    """What MPI finds."""

    size = 4

    def __init__(self, comm: Any) -> None:
        self.comm = comm


def _set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], ranks: Any) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "adbo.comm.mpi", ranks)


@launchers
def test_the_rank_before_mpi_is_up(variables: dict[str, str]) -> None:
    assert rank_hint(variables) == 2


@pytest.mark.parametrize(
    ("variables", "rank"), [({}, 0), ({"SLURM_PROCID": "3"}, 3), ({"PMI_RANK": "none"}, 0)]
)
def test_the_rank_without_a_launcher(variables: dict[str, str], rank: int) -> None:
    assert rank_hint(variables) == rank


def test_a_process_of_its_own_is_alone_and_loads_no_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, {"SLURM_STEP_NUM_TASKS": "1"}, None)  # importing adbo.comm.mpi would raise
    assert isinstance(find_ranks(), SingleRank)


@launchers
def test_ranks_of_a_launcher_use_mpi(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, variables, SimpleNamespace(MpiRanks=Connected))
    assert isinstance(find_ranks(), Connected)


def test_a_communicator_is_used_without_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, {}, SimpleNamespace(MpiRanks=Connected))
    assert find_ranks("comm").comm == "comm"


@launchers
def test_processes_that_mpi_does_not_connect_are_told(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = SimpleNamespace(MpiRanks=lambda comm: SimpleNamespace(size=1))
    _set(monkeypatch, variables, apart)
    with pytest.raises(UsageError, match="started 4 processes but MPI connects none"):
        find_ranks()
    assert find_ranks("a communicator of one").size == 1


def test_one_process_under_a_launcher_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = SimpleNamespace(MpiRanks=lambda comm: SimpleNamespace(size=1))
    _set(monkeypatch, {"PMI_RANK": "0", "PMI_SIZE": "1"}, apart)
    assert find_ranks().size == 1


def test_srun_without_mpi_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4"}, None)
    with pytest.raises(UsageError, match="srun started 4 tasks without MPI: use srun --mpi=pmi2"):
        find_ranks()


def test_a_missing_mpi_library_is_told_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, LAUNCHERS["MPICH"], None)
    with pytest.raises(UsageError, match="no MPI library can be loaded") as caught:
        find_ranks()
    assert "\n" not in str(caught.value)


class Node:
    """Ranks of which this one is at ``place`` of a node with these processors."""

    def __init__(self, place: int, processors: list[set[int]]) -> None:
        self.size = len(processors)
        self._place, self._processors = place, [frozenset(p) for p in processors]

    def node(self) -> tuple[int, list[frozenset[int]]]:
        return self._place, self._processors


@pytest.mark.parametrize(
    ("place", "processors", "n_threads"),
    [
        (0, [{0, 1, 2, 3}, {0, 1, 2, 3}], "2"),  # two share four
        (1, [{0}, {1, 2, 3}], "3"),  # bound to their own
        (2, [{0, 1}] * 5, "1"),  # more ranks than processors
    ],
)
def test_threads_are_shared_on_a_node(
    place: int, processors: list[set[int]], n_threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    monkeypatch.setattr(launch, "threadpool_limits", limits.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "as it was")
    use_node(Node(place, processors), None)
    assert os.environ["OMP_NUM_THREADS"] == n_threads
    assert limits == [int(n_threads)]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "as it was"


@pytest.mark.parametrize("processors", [[{0, 1}], [{0, 1}, {0, 1}]], ids=["alone", "told"])
def test_threads_are_left_alone(
    processors: list[set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank that is alone may use all; a user who said how many is obeyed."""
    monkeypatch.setattr(launch, "threadpool_limits", lambda n: pytest.fail("limited"))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    if len(processors) == 1:
        monkeypatch.delenv("OMP_NUM_THREADS")
    use_node(Node(0, processors), None)
    assert os.environ.get("OMP_NUM_THREADS") == (None if len(processors) == 1 else "7")


@pytest.mark.parametrize(
    ("visible", "place", "device"),
    [
        (None, 0, "0"),
        (None, 3, "3"),
        (None, 5, "1"),
        ("4,5,6,7", 3, "7"),  # what the batch system gave to this job
        ("2,3", 3, "3"),
        ("GPU-8a3f", 2, "GPU-8a3f"),  # and to this task
        ("", 3, "3"),
    ],
)
def test_each_rank_sees_one_gpu(
    visible: str | None, place: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    use_node(Node(place, [{0}] * 6), 4)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == device
