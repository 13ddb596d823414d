"""Training a configuration of Combo for 50 epochs, as the study did with Keras.

Losses, optimizers and callbacks are those of Keras with its defaults, except that ``sgd`` has a
momentum: an epoch here has a twentieth of the steps of the study, and the momentum makes up for
half of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from combo.network import Combo
from combo.synthetic import FloatArray, Measurements

N_EPOCHS = 50

#: Momentum of ``sgd``; Keras has none.
_SGD_MOMENTUM = 0.9

#: ``reduce_lr`` does not go below this learning rate.
_LEAST_LR = 1e-5

#: The backend epsilon of Keras, for optimizers and for losses that divide or take a logarithm.
_EPSILON = 1e-7


class Diverged(ArithmeticError):
    """The network predicts numbers that are not finite."""


class Epoch(NamedTuple):
    """What is known after an epoch."""

    r2: float
    """Of the validation rows."""
    seconds: float
    """CPU time since the beginning of the training."""


@dataclass(frozen=True)
class Tensors:
    """Scaled measurements: features of cells and of both drugs, and responses."""

    training: tuple[Tensor, Tensor, Tensor, Tensor]
    validation: tuple[Tensor, Tensor, Tensor, Tensor]


def train(
    params: Mapping[str, Any], measurements: Measurements, seed: int, n_epochs: int = N_EPOCHS
) -> Iterator[Epoch]:
    """Train a configuration; yield the validation R2 after each epoch.

    Parameters
    ----------
    params
        A value for each parameter of `combo.space.SPACE`.
    measurements
        The data.
    seed
        Determines the initial weights, the batches and the dropout.
    n_epochs
        Number of epochs; early stopping may end the training before.

    Raises
    ------
    Diverged
        If predictions are not finite.
    """
    started = time.process_time()
    torch.manual_seed(seed)
    data = to_tensors(measurements, params["scaling"])
    network = Combo(data.training[0].shape[1], data.training[1].shape[1], params)
    parameters = _flattened(network)
    optimizer = make_optimizer(params["optimizer"], parameters, params["learning_rate"])
    loss = LOSSES[params["loss"]]
    schedule = _Schedule(params)
    for epoch in range(n_epochs):
        optimizer.param_groups[0]["lr"] = schedule.learning_rate(epoch)
        _train_epoch(network, optimizer, loss, data.training, params["batch_size"])
        val_loss, r2 = _validate(network, loss, data.validation)
        yield Epoch(r2, time.process_time() - started)
        if schedule.is_over(val_loss):
            return


def to_tensors(measurements: Measurements, scaling: str) -> Tensors:
    """Return training and validation rows, with features scaled over cells or drugs."""
    triples = torch.as_tensor(measurements.triples)
    cells = torch.as_tensor(scale(measurements.cells, scaling), dtype=torch.float32)
    drugs = torch.as_tensor(scale(measurements.drugs, scaling), dtype=torch.float32)
    response = torch.as_tensor(measurements.response, dtype=torch.float32)
    columns = (cells[triples[:, 0]], drugs[triples[:, 1]], drugs[triples[:, 2]], response)
    n = measurements.n_training
    first, second, third, fourth = columns
    return Tensors(
        (first[:n], second[:n], third[:n], fourth[:n]),
        (first[n:], second[n:], third[n:], fourth[n:]),
    )


def scale(features: FloatArray, scaling: str) -> FloatArray:
    """Return features ``(n, k)`` scaled as by scikit-learn's scalers."""
    if scaling == "std":
        return (features - features.mean(axis=0)) / features.std(axis=0)
    if scaling == "minmax":
        return (features - features.min(axis=0)) / np.ptp(features, axis=0)
    if scaling == "maxabs":
        return features / np.abs(features).max(axis=0)
    raise ValueError(f"scaling is {scaling!r}: must be std, minmax or maxabs")


def make_optimizer(name: str, parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
    """Return an optimizer with the defaults of Keras."""
    if name == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=_SGD_MOMENTUM)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, lr, alpha=0.9, eps=_EPSILON)
    if name == "adagrad":
        return torch.optim.Adagrad(parameters, lr, initial_accumulator_value=0.1, eps=_EPSILON)
    if name == "adadelta":
        return torch.optim.Adadelta(parameters, lr, rho=0.95, eps=_EPSILON)
    if name == "adam":
        return torch.optim.Adam(parameters, lr, eps=_EPSILON)
    raise ValueError(f"optimizer is {name!r}: must be one of combo.space.OPTIMIZERS")


def _logcosh(predicted: Tensor, true: Tensor) -> Tensor:
    error = predicted - true
    return (error + functional.softplus(-2.0 * error) - np.log(2.0)).mean()


def _mape(predicted: Tensor, true: Tensor) -> Tensor:
    return 100.0 * ((true - predicted) / true.abs().clamp_min(_EPSILON)).abs().mean()


def _msle(predicted: Tensor, true: Tensor) -> Tensor:
    logs = [torch.log1p(y.clamp_min(_EPSILON)) for y in (predicted, true)]
    return functional.mse_loss(*logs)


#: Losses of predictions and true responses, by name.
LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "logcosh": _logcosh,
    "mape": _mape,
    "msle": _msle,
    "huber": functional.huber_loss,
}


@dataclass
class _Schedule:
    """The learning rate of each epoch, and early stopping, as the callbacks of the study.

    With ``warmup_lr`` the rate goes within five epochs from ``base_lr`` to ``learning_rate``.
    ``reduce_lr`` multiplies it by a factor when the validation loss has not improved for some
    epochs, and ``early_stopping`` ends the training.
    """

    params: Mapping[str, Any]
    factor: float = 1.0
    least: float = np.inf
    n_waited: dict[str, int] = field(default_factory=lambda: {"early_stopping": 0, "reduce_lr": 0})

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        rate = float(self.params["learning_rate"])
        if self.params["warmup_lr"] and epoch < 5:
            rate = (self.params["base_lr"] * (5 - epoch) + rate * epoch) / 5
        return max(rate * self.factor, min(rate, _LEAST_LR))

    def is_over(self, val_loss: float) -> bool:
        """Take the validation loss of an epoch; return whether the training stops."""
        improved = val_loss < self.least
        self.least = min(self.least, val_loss)
        for name in self.n_waited:
            self.n_waited[name] = 0 if improved else self.n_waited[name] + 1
        if self.params["reduce_lr"] and self._has_waited("reduce_lr"):
            self.factor *= self.params["reduce_lr_factor"]
            self.n_waited["reduce_lr"] = 0
        return bool(self.params["early_stopping"]) and self._has_waited("early_stopping")

    def _has_waited(self, name: str) -> bool:
        return self.n_waited[name] >= self.params[f"{name}_patience"]


def _flattened(network: nn.Module) -> list[Tensor]:
    """Return one vector of all weights, so that a step of an optimizer has few operations.

    The weights of the network become parts of it, and so do their gradients.
    """
    parameters = list(network.parameters())
    flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    start = 0
    for parameter in parameters:
        stop = start + parameter.numel()
        parameter.data = flat.data[start:stop].view_as(parameter)
        parameter.grad = flat.grad[start:stop].view_as(parameter)
        start = stop
    return [flat]


def _train_epoch(
    network: Combo,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[Tensor, Tensor], Tensor],
    rows: tuple[Tensor, Tensor, Tensor, Tensor],
    batch_size: int,
) -> None:
    network.train()
    order = torch.randperm(len(rows[3]))
    cells, first, second, response = (column[order] for column in rows)
    for i in range(0, len(response), batch_size):
        batch = slice(i, i + batch_size)
        if network.joint.norms and len(response[batch]) == 1:
            continue  # the variance of one row is unknown
        optimizer.zero_grad(set_to_none=False)
        predicted = network(cells[batch], first[batch], second[batch])
        loss(predicted, response[batch]).backward()
        optimizer.step()


def _validate(
    network: Combo,
    loss: Callable[[Tensor, Tensor], Tensor],
    rows: tuple[Tensor, Tensor, Tensor, Tensor],
) -> tuple[float, float]:
    """Return the loss and the R2 of rows."""
    network.eval()
    cells, first, second, response = rows
    with torch.no_grad():
        predicted = network(cells, first, second)
        if not torch.isfinite(predicted).all():
            raise Diverged("predictions are not finite")
        residual = ((response - predicted).double() ** 2).sum()
        total = ((response - response.mean()).double() ** 2).sum()
        return float(loss(predicted, response)), float(1 - residual / total)
