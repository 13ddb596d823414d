"""The vocabulary of all other rooms: search space, evaluation, wire format, history, settings.

It does not know how a point is proposed, who sends evaluations or where they are stored.
"""
