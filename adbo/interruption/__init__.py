"""Interrupting an objective: signals, the deadline, and the processes that end with an evaluation.

These modules do not know trials, ranks or studies.
"""
