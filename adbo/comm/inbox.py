"""What a rank does with the frames of its peers, whatever brought them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adbo.core.wire import Decoder, Received, message


class Inbox:
    """Decodes frames, and remembers who has left."""

    def __init__(self) -> None:
        self.farewells: dict[int, dict[str, Any]] = {}
        self._decoder = Decoder()

    def open(self, frames: Sequence[bytes]) -> Received:
        """Return the content of frames."""
        received = self._decoder.decode([message(frames)] if frames else [])
        for statistics in received.farewells:
            self.farewells[int(statistics["rank"])] = statistics
        return received
