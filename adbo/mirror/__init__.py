"""The study in a database: who keeps it, how it is read, and how thousands of trials are written.

It does not know MPI, the optimizer or the objective.
"""
