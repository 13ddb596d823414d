"""Train a classifier for some epochs, report each, and stop where it is not worth going on.

    mpiexec -n 4 python -m adbo run examples/pruning.py:objective --direction maximize --trials 100

The objective is that of any Optuna tutorial: it reports, asks, and raises. Every rank decides by
itself, from what all ranks have reported so far.
"""

from functools import cache

import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

N_EPOCHS = 27
CLASSES = range(10)


@cache
def data():
    """Return training and validation images of digits with their labels."""
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images / 16, labels, test_size=0.3, random_state=0)


def objective(trial: optuna.Trial) -> float:
    """Return the validation accuracy after all epochs."""
    train_images, test_images, train_labels, test_labels = data()
    network = MLPClassifier(
        hidden_layer_sizes=[trial.suggest_int("width", 4, 64, log=True)],
        activation=trial.suggest_categorical("activation", ["relu", "tanh", "logistic"]),
        learning_rate_init=trial.suggest_float("learning_rate", 1e-5, 1.0, log=True),
        alpha=trial.suggest_float("alpha", 1e-6, 1.0, log=True),
        random_state=0,
    )
    accuracy = 0.0
    for epoch in range(N_EPOCHS):
        network.partial_fit(train_images, train_labels, classes=CLASSES)
        accuracy = network.score(test_images, test_labels)
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy
