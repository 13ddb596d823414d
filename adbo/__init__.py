"""Asynchronous decentralized Bayesian optimization on supercomputers.

``mpirun -n 4096 python -m adbo run objective.py:objective``: every MPI rank is a complete
optimizer that sends its results to all others and waits for none of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adbo.api import optimize
    from adbo.core.launcher_environment import program_environment
    from adbo.objective.program.objective import load_program
    from adbo.optimizer.ask_tell import Optimizer
    from adbo.replicated.storage import storage
    from adbo.sampler import QUCBSampler

__version__ = "0.1.0"
__all__ = [
    "Optimizer",
    "QUCBSampler",
    "load_program",
    "optimize",
    "program_environment",
    "storage",
]

_MODULES = {
    "Optimizer": "adbo.optimizer.ask_tell",
    "QUCBSampler": "adbo.sampler",
    "load_program": "adbo.objective.program.objective",
    "optimize": "adbo.api",
    "program_environment": "adbo.core.launcher_environment",
    "storage": "adbo.replicated.storage",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that the command line starts quickly."""
    import importlib

    if name not in _MODULES:
        raise AttributeError(f"module 'adbo' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
