"""The command line: its words, and what each command does.

Nothing else imports it. The words alone import nothing heavy.
"""
