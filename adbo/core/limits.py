"""Limits that the command line checks without loading numpy or Optuna."""

#: Objectives that a study may have at most: the front of more is most of what was evaluated.
MOST_OBJECTIVES = 5
