"""Names are those of a set, however they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adbo.core.job import Job
from adbo.core.names import Names

NAMES = st.tuples(st.integers(-1, 2), st.integers(-2, 6))


@given(st.lists(st.tuples(st.booleans(), NAMES), max_size=60))
def test_it_is_a_set(steps):
    names, known = Names(), set()
    for is_added, name in steps:
        if is_added:
            assert names.add(*name) == (name not in known)
            known.add(name)
        else:
            names.discard(*name)
            known.discard(name)
        for rank in range(-1, 3):
            for seq in range(-2, 8):
                assert ((rank, seq) in names) == ((rank, seq) in known)
        assert names.count(0) == sum(seq >= 0 for _, seq in known)


@given(st.permutations(range(30)), st.integers(0, 9))
def test_names_that_have_all_come_take_no_memory_of_their_own(order, job):
    names = Names()
    first = Job(job).first_seq
    assert all(names.add(4, first + index) for index in order)
    assert not any(names.add(4, first + index) for index in order)
    assert names.n_out_of_order == 0
