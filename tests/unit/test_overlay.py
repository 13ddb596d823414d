"""The overlay: each record reaches each living rank on exactly one path, with few hops."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adbo.comm.overlay import choose_radix, incoming, levels, n_digits, outgoing


@st.composite
def overlays(draw) -> tuple[int, int, set[int]]:
    """Return a number of ranks, a radix, and some dead ranks, but not all."""
    size = draw(st.integers(1, 70))
    radix = draw(st.integers(2, max(size, 2)))
    dead = draw(st.sets(st.integers(0, size - 1), max_size=size - 1))
    return size, radix, dead


@given(overlays())
def test_each_living_rank_is_reached_once_whichever_ranks_have_died(overlay) -> None:
    size, radix, dead = overlay
    level = levels(size, radix)
    routes = {rank: outgoing(rank, size, radix, dead) for rank in range(size) if rank not in dead}
    for origin in routes:
        reached, ahead, hops = [], [origin], 0
        while ahead:
            reached += ahead
            assert hops <= n_digits(size, radix)
            hops += 1
            ahead = [
                route.peer
                for rank in ahead
                for route in routes[rank]
                if level[(rank - origin) % size] > route.digit
                and (rank - origin) % size + route.offset < size
            ]
        assert sorted(reached) == sorted(routes)


@given(overlays())
def test_ranks_know_who_pushes_to_them(overlay) -> None:
    size, radix, dead = overlay
    living = [rank for rank in range(size) if rank not in dead]
    pushes = {(a, route.peer) for a in living for route in outgoing(a, size, radix, dead)}
    assert pushes == {(b, a) for a in living for b in incoming(a, size, radix, dead)}


@pytest.mark.parametrize("size", [64, 100, 4096, 65536])
def test_neighbours_are_few(size: int) -> None:
    most = math.ceil(math.log2(size))
    assert choose_radix(size, has_threads=True) == 2
    for rank in (0, 1, size - 1):
        neighbours = {route.peer for route in outgoing(rank, size, 2)}
        assert len(neighbours) <= most
        assert len(neighbours | set(incoming(rank, size, 2))) <= 2 * most


def test_without_threads_there_are_two_hops() -> None:
    radix = choose_radix(4096, has_threads=False)
    assert n_digits(4096, radix) == 2
    assert len(outgoing(0, 4096, radix)) == 2 * 63


def test_few_ranks_send_directly() -> None:
    assert n_digits(32, choose_radix(32, has_threads=True)) == 1
    assert len(outgoing(3, 32, 32)) == 31
