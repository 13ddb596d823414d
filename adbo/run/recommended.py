"""The recommendation of the model in a summary."""

from __future__ import annotations

from dataclasses import replace

from adbo.core.history import History
from adbo.core.summary import Summary
from adbo.optimizer.recommend import recommend


def with_recommendation(summary: Summary, history: History) -> Summary:
    """Return a summary with what the model believes best; unchanged if nothing is complete."""
    recommendation = recommend(history)
    if recommendation is None:
        return summary
    row, value = recommendation
    params = history.evaluation(row).params
    return replace(summary, recommended_value=value, recommended_params=params)
