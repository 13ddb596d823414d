"""Which version of the code a result was measured with.

Scripts write one of these versions into each row of their results:

- `METHOD_VERSION` where the result depends on what the optimizer proposes;
- `code_version` where it depends on the machine and the code only, such as the cost of messages.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The commit that last changed which points the optimizer proposes for a given seed and history.
#: Update it with every such change; all tables that name another version are then out of date.
METHOD_VERSION = "1a6c8f4"


def code_version() -> str:
    """Return the abbreviated commit of this checkout, ending in ``+`` if files were changed."""
    command = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def check_version(path: Path, versions: Iterable[str], version: str = METHOD_VERSION) -> None:
    """Refuse to add results of a version to a file with results of another version.

    Raises
    ------
    SystemExit
        With a message that names the file and the versions.
    """
    others = sorted(set(versions) - {version})
    if others:
        raise SystemExit(
            f"{path} has results of version {', '.join(others)}, but this is version "
            f"{version}: choose another --output"
        )


def save(figure: Figure, path: Path, version: str) -> None:
    """Save a figure, with the version of its data in the lower right corner."""
    figure.text(
        0.995, 0.005, f"version {version}", ha="right", va="bottom", fontsize=6, color="gray"
    )
    figure.savefig(path, dpi=100)
