"""The surrogates: each fits some points of the unit cube and predicts others.

They do not know the history, nor which of them an ask uses.
"""
