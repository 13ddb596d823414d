"""The command line: its options, their checks, and what each command does.

No other room imports it. Options and checks import nothing heavy.
"""
