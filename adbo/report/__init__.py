"""What people see of a run: the live line, the last lines, the summary of a stored study.

It does not know how a run comes about.
"""
