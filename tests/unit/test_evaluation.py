"""Evaluations and their layouts."""

from __future__ import annotations

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from adbo.core.evaluation import Layout


def _layout(*choices: object) -> Layout:
    return Layout.of({"c": CategoricalDistribution(choices), "x": FloatDistribution(0, 1)})


def test_equal_distributions_share_a_layout() -> None:
    assert _layout("a", "b") is _layout("a", "b")
    assert Layout.of({"n": IntDistribution(1, 8)}) is Layout.of({"n": IntDistribution(1, 8)})


def test_choices_that_are_equal_but_of_other_types_do_not_share_a_layout() -> None:
    texts = {_layout(*choices).text for choices in ((0, 1), (False, True), (0.0, 1.0))}
    assert len(texts) == 3


def test_the_order_of_the_parameters_counts() -> None:
    one, two = FloatDistribution(0, 1), FloatDistribution(0, 2)
    assert Layout.of({"a": one, "b": two}).names == ("a", "b")
    assert Layout.of({"b": two, "a": one}).names == ("b", "a")


def test_choices_without_a_hash_have_a_layout_all_the_same() -> None:
    assert _layout([1], [2]).names == ("c", "x")
