"""A program as the objective: a study file, and a command or input files filled per trial.

`study_file` reads and checks, without numpy or Optuna; `objective` is what a rank calls.
"""
