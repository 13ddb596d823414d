"""What people see of a run: the live line, the last lines, the summary of a stored study.

It takes histories, settings and summaries, and does not know how they come about.
"""
