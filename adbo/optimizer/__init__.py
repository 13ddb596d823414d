"""Ask and tell: from the known evaluations to the next point, as functions over arrays.

`ask` turns a history into a proposal and `ask_tell` wraps it as `adbo.Optimizer`. `sample`,
`view`, `regions` and `branches` choose the rows an ask works with; `strategies` propose points,
and `shares` says how often each of them does; `candidates` and `local_search` find where `models`
are lowest; `recommend` names the evaluation that the model believes best; `settings` holds all
tunables.

This package does not know ranks, messages, databases, objectives or time.
"""
