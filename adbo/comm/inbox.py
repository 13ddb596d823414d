"""What a rank does with messages of its peers, whatever brought them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adbo.core.wire import Decoder, Received


class Inbox:
    """Decodes messages, and remembers who has left."""

    def __init__(self) -> None:
        self.farewells: dict[int, dict[str, Any]] = {}
        self._decoder = Decoder()

    def open(self, messages: Sequence[bytes]) -> Received:
        """Return the content of messages."""
        received = self._decoder.decode(messages)
        for statistics in received.farewells:
            self.farewells[int(statistics["rank"])] = statistics
        return received
