"""The surrogates: each is fitted to rows of the unit cube and predicts, or proposes, others.

They do not know the history, nor which of them an ask uses.
"""
