"""Ask and tell: from the known evaluations to the next point, as functions over arrays.

`ask` turns a history into a proposal and `ask_tell` wraps it as `adbo.Optimizer`. `strategies`
says how a point is proposed; `regions` and `branches` choose the rows an ask works with;
`candidates`, `local_search` and `global_quadratic` propose points; `models` holds the surrogates;
`settings` holds all tunables.

This package does not know ranks, messages, databases, objectives or time.
"""
