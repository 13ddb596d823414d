"""The light table of methods agrees with the registry."""

from __future__ import annotations

from adbo.simulation.centralized import run_managed
from adbo.simulation.methods import METHODS
from adbo.simulation.settings import MANAGED, METHOD_NAMES


def test_the_names_are_those_of_the_registry() -> None:
    assert tuple(METHODS) == METHOD_NAMES


def test_the_managed_methods_are_those_with_a_manager() -> None:
    assert {
        name for name, run in METHODS.items() if getattr(run, "func", None) is run_managed
    } == (MANAGED)
