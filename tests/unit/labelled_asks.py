"""Asks that propose what they do, with origins of the test's choice."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from itertools import cycle

import pytest

from adbo.core.origins import to_code
from adbo.optimizer import ask
from adbo.optimizer.ask import Proposal

LOCAL = to_code("local", "elites")
FOREST = to_code("forest", "branch")


def label_asks(monkeypatch: pytest.MonkeyPatch, origins: Sequence[int] = (LOCAL, FOREST)) -> None:
    """Give the asks of ranks, simulations, the sampler and `Optimizer` these origins in turn."""
    drawn = cycle(origins)
    propose = ask.propose

    def labelled(*arguments, **options) -> Proposal:
        return propose(*arguments, **options)._replace(origin=next(drawn))

    for name in ("run.rank", "optimizer.ask_tell", "sampler", "optimizer.ask"):
        monkeypatch.setattr(importlib.import_module(f"adbo.{name}"), "propose", labelled)
