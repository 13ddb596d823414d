"""The user's function: loading it, the trial it is given, and what its outcome means.

It does not know other ranks, the optimizer or the database.
"""
