"""Polite polling."""

from __future__ import annotations

from adbo.comm.backoff import Backoff


def test_pauses_double_up_to_the_longest_and_begin_again_after_news() -> None:
    pauses: list[float] = []
    backoff = Backoff(1.0, 5.0, sleep=pauses.append)
    for _ in range(4):
        backoff.pause()
    backoff.reset()
    backoff.pause()
    assert pauses == [1.0, 2.0, 4.0, 5.0, 1.0]
