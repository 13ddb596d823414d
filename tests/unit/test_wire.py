"""The wire format: decoding returns what was encoded, bit by bit, and refuses anything else."""

from __future__ import annotations

import json
import math
import struct

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from trial_strategies import evaluations, json_values

from adbo.core.evaluation import Evaluation, Extras, Layout, to_batch
from adbo.core.limits import MOST_OBJECTIVES
from adbo.core.rungs import Report
from adbo.core.wire import (
    FORMAT_VERSION,
    Decoder,
    Encoder,
    FormatError,
    farewell,
    message,
    report,
)


def _flat(evaluation: Evaluation) -> tuple:
    """Return an evaluation as text, which tells apart what == does not: NaN, -0.0 and 0.0."""
    floats = [evaluation.value, evaluation.started, evaluation.finished, *evaluation.internal]
    return (
        evaluation.rank,
        evaluation.seq,
        evaluation.state,
        struct.pack(f"{len(floats)}d", *floats),
        evaluation.layout.text,
        evaluation.extras,
        evaluation.origin,
    )


def _evaluations(batches) -> list[Evaluation]:
    """Return the rows of batches as evaluations, without the history."""
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
                    origin=int(row["origin"]),
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


@pytest.mark.parametrize(
    "value",
    [5e-324, -0.0, math.inf, -math.inf, struct.unpack("<d", b"\x01\0\0\0\0\0\xf8\x7f")[0]],
    ids=["subnormal", "minus zero", "infinity", "minus infinity", "NaN with a payload"],
)
def test_every_float_arrives_bit_by_bit(value: float) -> None:
    layout = Layout({"x": FloatDistribution(-1, 1)})
    sent = Evaluation(0, 0, TrialState.PRUNED, value, value, value, layout, (value,))
    batch = Decoder().decode([message([Encoder().frames(sent)])]).batches[0]
    assert _flat(_evaluations([batch])[0]) == _flat(sent)


def test_extras_arrive_whole() -> None:
    extras = Extras(
        {"text": "\u00e9\ud800", "nested": {"a": [1, None, True]}, "large": 10**40},
        {"constraints:c": -0.0},
        {0: math.inf, 2**31: 5e-324, 7: math.nan},
    )
    sent = Evaluation(0, 0, TrialState.FAIL, math.nan, 0, 1, Layout({}), (), extras)
    batch = Decoder().decode([message([Encoder().frames(sent)])]).batches[0]
    assert repr(batch.extras) == repr({0: extras})  # repr: tells -0.0 from 0.0, NaN equals NaN


def test_records_of_one_layout_come_as_one_batch_in_their_order() -> None:
    layouts = [Layout({name: FloatDistribution(0, 1)}) for name in "xy"]
    encoder = Encoder()
    frames = [
        encoder.frames(Evaluation(0, seq, TrialState.COMPLETE, 0, 0, 1, layouts[seq % 2], (0.5,)))
        for seq in range(6)
    ]
    batches = Decoder().decode([message(frames[:3]), message(frames[3:])]).batches
    assert [b.layout for b in batches] == layouts
    assert [b.rows["seq"].tolist() for b in batches] == [[0, 2, 4], [1, 3, 5]]


def test_another_stream_may_relay_a_record_whose_layout_is_known() -> None:
    layout = Layout({"x": FloatDistribution(0, 1)})
    evaluation = Evaluation(0, 0, TrialState.COMPLETE, 0, 0, 1, layout, (0.5,))
    announced, decoder = Encoder(), Decoder()
    first = announced.frames(evaluation)
    relayed = announced.frames(evaluation)
    decoder.decode([message([first])])
    assert decoder.decode([message([relayed])]).batches[0].layout == layout


@given(evaluations())
def test_a_layout_is_announced_once_and_before_its_first_record(evaluation: Evaluation) -> None:
    encoder = Encoder()
    first, second = encoder.frames(evaluation), encoder.frames(evaluation)
    assert len(second) < len(first)
    with pytest.raises(FormatError, match="unknown layout"):
        Decoder().decode([message([second])])
    assert len(Decoder().decode([message([first, second])]).batches[0].rows) == 2


def test_layouts_with_equal_names_and_other_ranges_differ() -> None:
    small, large = (Layout({"x": FloatDistribution(0, high)}) for high in (1, 2))
    assert small.key != large.key
    assert small.key == Layout({"x": FloatDistribution(0, 1)}).key


def test_a_layout_that_equals_a_known_one_may_have_another_text() -> None:
    known = Layout.of({"x": FloatDistribution(0.0, 1)})
    other = Layout({"x": FloatDistribution(-0.0, 1)})
    assert known == other
    assert known.key != other.key
    evaluation = Evaluation(1, 0, TrialState.COMPLETE, 1.0, 0.0, 1.0, other, (0.5,))
    (batch,) = Decoder().decode([message([Encoder().frames(evaluation)])]).batches
    assert batch.layout == known


def test_choices_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(TypeError):
        Layout({"x": CategoricalDistribution([object()])}).text  # noqa: B018


def test_a_farewell() -> None:
    received = Decoder().decode([message([farewell({"rank": 3, "reason": None})])])
    assert received.batches == []
    assert received.farewells == [{"rank": 3, "reason": None}]


@given(st.binary(max_size=80), st.booleans())
def test_garbage_is_a_format_error(data: bytes, with_prefix: bool) -> None:
    data = message([data]) if with_prefix else data
    try:
        received = Decoder().decode([data])
    except FormatError:
        return
    # Only an empty message or a notice can be valid.
    assert data.startswith(b"adbo")
    assert received.batches == []


def _framed(kind: int, payload: bytes) -> bytes:
    return struct.pack("<BI", kind, len(payload)) + payload


DISTRIBUTION = '{"name": "%s", "attributes": {"low": %s, "high": %s, "step": %s}}'


@pytest.mark.parametrize(
    "text",
    [
        DISTRIBUTION % ("FloatDistribution", 0, "Infinity", 0.1),
        DISTRIBUTION % ("FloatDistribution", 0, "9" * 400, 0.1),
        DISTRIBUTION % ("FloatDistribution", '"a"', 1, 0.1),
        DISTRIBUTION % ("IntDistribution", 0, "Infinity", 1),
        DISTRIBUTION % ("IntDistribution", 0, 1, 0),
        DISTRIBUTION % ("OtherDistribution", 0, 1, 1),
        '{"name": "CategoricalDistribution", "attributes": {}}',
        "[]",
        "[" * 100_000,
    ],
    ids=lambda text: text[:99],
)
def test_a_layout_of_no_distribution_is_a_format_error(text: str) -> None:
    layout = json.dumps([["x", text]]).encode()
    with pytest.raises(FormatError, match="unreadable"):
        Decoder().decode([message([_framed(1, layout)])])


@pytest.mark.parametrize(
    "extras",
    [
        b"3", b"[1, 2]", b"[{}, {}, [[1]]]", b"[{}, {}, [[Infinity, 1]]]", b'[{}, {}, [["a", 1]]]',
        b'[{}, {}, [[1, "a"]]]', b"[3, {}, []]", b"[{}, [1], []]", b"\xff", b"[" * 100_000,
    ],
    ids=lambda extras: repr(extras[:30]),
)  # fmt: skip
def test_bytes_after_a_record_must_be_extras(extras: bytes) -> None:
    layout = Layout({})
    evaluation = Evaluation(0, 0, TrialState.COMPLETE, 0, 0, 1, layout, ())
    record = to_batch(evaluation).rows.tobytes()
    announced = _framed(1, layout.text.encode())
    assert Decoder().decode([message([announced, _framed(2, record)])]).batches
    with pytest.raises(FormatError, match="unreadable"):
        Decoder().decode([message([announced, _framed(2, record + extras)])])


@pytest.mark.parametrize(
    "notice",
    [b"", b"3", b"[]", b"null", b"\xff\xfe", b"[" * 100_000],
    ids=lambda notice: repr(notice[:30]),
)
def test_the_statistics_of_a_farewell_must_be_an_object(notice: bytes) -> None:
    with pytest.raises(FormatError, match="unreadable"):
        Decoder().decode([message([_framed(3, notice)])])


@given(st.integers(1, 255), json_values)
@example(5, [2.3675739481284524e16])
def test_any_other_frame_is_a_format_error(kind: int, payload) -> None:
    """JSON without names is neither a layout nor a record nor a notice."""
    # The layouts without parameters.
    assume(kind != 1 or payload not in ([], "", *([n] for n in range(1, MOST_OBJECTIVES + 1))))
    frame = _framed(kind, json.dumps(payload).encode())
    assume(kind != 5 or len(frame) != len(report(Report(0, 0, 0, 0.0))))  # any bytes are one
    with pytest.raises(FormatError):
        Decoder().decode([message([frame])])


@given(evaluations(), st.data())
def test_a_damaged_message_raises_no_other_error(evaluation: Evaluation, data) -> None:
    damaged = bytearray(message([Encoder().frames(evaluation)]))
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    try:
        batches = Decoder().decode([bytes(damaged)]).batches
    except FormatError:
        return
    assert sum(len(batch.rows) for batch in batches) <= 1


@given(evaluations(), st.data())
def test_a_truncated_message_is_a_format_error(evaluation: Evaluation, data) -> None:
    whole = message([Encoder().frames(evaluation)])
    cut = data.draw(st.integers(6, len(whole) - 1))
    try:
        received = Decoder().decode([whole[:cut]])
    except FormatError:
        return
    # A cut between the two frames leaves a message with the layout only.
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


def test_reports_of_running_trials() -> None:
    sent = [Report(3, 10**9 + 7, 27, -0.5), Report(0, 0, 1, math.inf), Report(0, 0, 3, math.nan)]
    decoded = Decoder().decode([message(map(report, sent))]).reports
    assert decoded[:2] == sent[:2]
    assert decoded[2][:3] == sent[2][:3]
    assert math.isnan(decoded[2].value)
    with pytest.raises(FormatError):
        Decoder().decode([message([report(sent[0])[:-1]])])
    with pytest.raises(FormatError):
        Decoder().decode([message([b"\x06\x03\0\0\0abc"])])


@pytest.mark.parametrize("steps", [range(3), range(7, 700, 7), [5], [0, 1], [3, 1, 2], [0, 5, 6]])
def test_intermediate_values_keep_their_order_and_need_little(steps) -> None:
    values = {step: 1 / (1 + step) for step in steps}
    layout = Layout({})
    extras = Extras({}, {}, values)
    sent = Evaluation(0, 0, TrialState.COMPLETE, 0.5, 0.0, 1.0, layout, (), extras)
    frame = Encoder().frames(sent)
    (received,) = _evaluations(Decoder().decode([message([frame])]).batches)
    assert list(received.extras.intermediate_values.items()) == list(values.items())
    if len(values) > 50:
        assert len(frame) < 8 * len(values) + 200
