"""The study in a database: which rank owns it, reading it, and writing thousands of trials.

`owner` and `mirror` copy the history from a thread; `study` opens a study and chooses the writer:
`bulk_writer` for known tables, `trial_writer` for any storage; `reader` and `queue` read trials;
`rescue` keeps what the database did not take. This room does not know MPI, the optimizer or the
objective.
"""
