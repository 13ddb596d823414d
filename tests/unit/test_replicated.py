"""The replicated storage: Optuna's own tests, and what several ranks make of it."""

from __future__ import annotations

import pytest
from optuna.testing.pytest_storages import StorageTestCase

import adbo
from adbo.replicated import ReplicatedStorage


class TestAlone(StorageTestCase):
    """Optuna's tests of a storage."""

    @pytest.fixture
    def storage(self) -> ReplicatedStorage:
        return adbo.storage()
