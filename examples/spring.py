r"""The lightest spring that bears its load, with constraints and with a rule for the parameters.

    mpiexec -n 4 python -m adbo run examples/spring.py:objective \
        --allowed can_be_wound --trials 200

The constraints are known only after an evaluation. Feasible trials come first, and no penalty is
added to the value. What the parameters alone decide is a function of them, and is never proposed.
"""


def can_be_wound(params):
    """Return whether the coil is wide enough for its wire."""
    return params["coil"] >= 4 * params["wire"]


def objective(trial):
    """Return the mass of a spring, in units of pi**2 / 4 times its density."""
    wire = trial.suggest_float("wire", 0.05, 0.2)  # diameter in inches
    coil = trial.suggest_float("coil", 0.25, 1.3)  # diameter in inches
    turns = trial.suggest_int("turns", 2, 15)
    ratio = coil / wire
    deflection = coil**3 * turns / (71785 * wire**4)
    stress = (4 * ratio**2 - ratio) / (12566 * wire**2 * (ratio - 1)) + 1 / (5108 * wire**2)
    frequency = 140.45 * wire / (coil**2 * turns)
    # At most 0 if it is met.
    trial.set_constraint("deflection", 1 - deflection)
    trial.set_constraint("stress", stress - 1)
    trial.set_constraint("frequency", 1 - frequency)
    trial.set_constraint("outer diameter", (coil + wire) / 1.5 - 1)
    return (turns + 2) * coil * wire**2
