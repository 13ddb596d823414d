"""The wire format: what goes in comes out, bit by bit, and nothing else does."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from strategies import evaluations

from adbo.records import (
    FORMAT_VERSION,
    Decoder,
    Encoder,
    Evaluation,
    Extras,
    FormatError,
    Layout,
    farewell,
    message,
    obituary,
    to_batch,
)


def _flat(evaluation: Evaluation) -> tuple:
    """An evaluation in a form that tells apart what == does not: NaN, -0.0."""
    floats = [evaluation.value, evaluation.started, evaluation.finished, *evaluation.internal]
    return (
        evaluation.rank,
        evaluation.seq,
        evaluation.state,
        struct.pack(f"{len(floats)}d", *floats),
        evaluation.layout.text,
        evaluation.extras,
    )


def _evaluations(batches) -> list[Evaluation]:
    """The rows of batches as objects, made without the history."""
    found = []
    for layout, rows, extras in batches:
        for i, row in enumerate(rows):
            found.append(
                Evaluation(
                    rank=int(row["rank"]),
                    seq=int(row["seq"]),
                    state=TrialState(int(row["state"])),
                    value=float(row["value"]),
                    started=float(row["started"]),
                    finished=float(row["finished"]),
                    layout=layout,
                    internal=tuple(float(v) for v in row["internal"]),
                    extras=extras.get(i, Extras()),
                )
            )
    return found


@given(st.lists(evaluations(), max_size=6), st.integers(1, 4))
def test_what_is_sent_is_received(sent: list[Evaluation], size: int) -> None:
    encoder = Encoder()
    frames = [encoder.frames(evaluation) for evaluation in sent]
    messages = [message(frames[i : i + size]) for i in range(0, len(frames), size)]
    decoder = Decoder()
    together = decoder.decode(messages)
    one_by_one = Decoder()
    apart = [batch for data in messages for batch in one_by_one.decode([data]).batches]
    expected = sorted(map(repr, map(_flat, sent)))
    assert sorted(map(repr, map(_flat, _evaluations(together.batches)))) == expected
    assert sorted(map(repr, map(_flat, _evaluations(apart)))) == expected


@given(evaluations())
def test_a_layout_is_announced_once_and_before_its_first_record(evaluation: Evaluation) -> None:
    encoder = Encoder()
    first, second = encoder.frames(evaluation), encoder.frames(evaluation)
    assert len(second) < len(first)
    with pytest.raises(FormatError, match="not announced"):
        Decoder().decode([message([second])])
    assert len(Decoder().decode([message([first, second])]).batches[0].rows) == 2


def test_layouts_with_equal_names_and_other_ranges_differ() -> None:
    small, large = (Layout({"x": FloatDistribution(0, high)}) for high in (1, 2))
    assert small.key != large.key
    assert small.key == Layout({"x": FloatDistribution(0, 1)}).key


def test_choices_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(TypeError):
        Layout({"x": CategoricalDistribution([object()])}).text  # noqa: B018


def test_notices() -> None:
    data = message([farewell({"rank": 3, "reason": None}), obituary({"rank": 2, "known": 5})])
    received = Decoder().decode([data])
    assert received.batches == []
    assert received.farewells == [{"rank": 3, "reason": None}]
    assert received.obituaries == [{"rank": 2, "known": 5}]


@given(st.binary(max_size=80), st.booleans())
def test_garbage_is_a_format_error(data: bytes, with_prefix: bool) -> None:
    data = message([data]) if with_prefix else data
    try:
        received = Decoder().decode([data])
    except FormatError:
        return
    # What got through can only have been empty or a notice.
    assert data.startswith(b"adbo")
    assert received.batches == []


@given(evaluations(), st.data())
def test_a_truncated_message_is_a_format_error(evaluation: Evaluation, data) -> None:
    whole = message([Encoder().frames(evaluation)])
    cut = data.draw(st.integers(6, len(whole) - 1))
    try:
        received = Decoder().decode([whole[:cut]])
    except FormatError:
        return
    # Cut between the layout's frame and the record's: no part of a record gets through.
    assert received.batches == []


def test_another_version_is_refused_with_advice() -> None:
    data = bytearray(message([]))
    data[4] = FORMAT_VERSION + 1
    with pytest.raises(FormatError, match="run the same adbo on every rank"):
        Decoder().decode([bytes(data)])


@given(evaluations())
def test_params_are_what_the_objective_saw(evaluation: Evaluation) -> None:
    for name, distribution in evaluation.layout.distributions.items():
        value = evaluation.params[name]
        assert distribution._contains(distribution.to_internal_repr(value))


@given(evaluations())
def test_a_batch_of_one(evaluation: Evaluation) -> None:
    assert _flat(_evaluations([to_batch(evaluation)])[0]) == _flat(evaluation)
