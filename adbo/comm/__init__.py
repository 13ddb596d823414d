"""How ranks talk: over MPI, or within one process; and what survivors do when one dies.

It does not know what is optimized, nor what is done with the evaluations that it carries.
"""
