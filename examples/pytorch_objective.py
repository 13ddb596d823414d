"""Train a network in PyTorch, report each epoch, and stop where it is not worth going on.

With Optuna:             python examples/pytorch_objective.py
With adbo on four ranks: mpiexec -n 4 python -m adbo run \
    examples/pytorch_objective.py:objective --direction maximize --trials 100

It has the parameters of the example pytorch_simple in Optuna's repository of examples. The images
are scikit-learn's handwritten digits, so that nothing is downloaded.
"""

import optuna
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

N_EPOCHS = 10
BATCH = 128

images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
TRAIN, VALID = map(torch.tensor, train_test_split(range(len(labels)), random_state=0))


def make_network(trial):
    """Return the untrained network of a trial."""
    layers, width = [], images.shape[1]
    for i in range(trial.suggest_int("n_layers", 1, 3)):
        n_units = trial.suggest_int(f"n_units_l{i}", 4, 128)
        dropout = trial.suggest_float(f"dropout_l{i}", 0.2, 0.5)
        layers += [nn.Linear(width, n_units), nn.ReLU(), nn.Dropout(dropout)]
        width = n_units
    return nn.Sequential(*layers, nn.Linear(width, 10))


def objective(trial):
    """Return the validation accuracy after all epochs."""
    network = make_network(trial)
    optimizer_class = trial.suggest_categorical("optimizer", ["Adam", "RMSprop", "SGD"])
    rate = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    optimizer = getattr(torch.optim, optimizer_class)(network.parameters(), lr=rate)
    for epoch in range(N_EPOCHS):
        network.train()
        for batch in TRAIN[torch.randperm(len(TRAIN))].split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        network.eval()
        accuracy = (network(images[VALID]).argmax(1) == labels[VALID]).float().mean().item()
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=100)
    print(study.best_trial)
