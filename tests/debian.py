"""Programs from Debian's packages, installed where they are missing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from shared import locked

#: The path of a user and the directories of daemons.
PATH = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"

#: Exit status 101 forbids to start a daemon when it is installed; the tests start their own.
_NO_DAEMONS = "#!/bin/sh\nexit 101\n"

Found = TypeVar("Found")


def installed(packages: str, find: Callable[[], Found | None]) -> Found:
    """Return what ``find`` finds; where it finds nothing, install packages first."""
    if (found := find()) is not None:
        return found
    with locked(Path(tempfile.gettempdir()) / "adbo-tests-install.lock"), _no_daemons():
        if (found := find()) is None:  # another process may have installed it
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            install = ["install", "--yes", "--no-install-recommends", *packages.split()]
            for arguments in (["update"], install):
                subprocess.run(
                    ["apt-get", "-qq", *arguments],
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
            found = find()
    assert found is not None, f"it is not in the packages {packages}"
    return found


@contextlib.contextmanager
def _no_daemons() -> Iterator[None]:
    """Keep Debian from starting the daemons that it installs."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text(_NO_DAEMONS)
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
