"""The network of Combo: a tower for the cell, one shared by both drugs, and one that joins them.

Each tower has three layers of units with an activation, optional dropout, and an optional
residual connection from the layer before where both have the same width. The last tower has
optional batch normalization. The linear output is the growth. Weights begin as in Keras, which
the study used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Widths of the study divided by this are those of the copy.
WIDTH_DIVISOR = 8


def _hard_sigmoid(x: Tensor) -> Tensor:
    return (0.2 * x + 0.5).clamp(0.0, 1.0)  # as in Keras 2; PyTorch has x / 6


ACTIVATIONS = {
    "elu": functional.elu,
    "gelu": functional.gelu,
    "hard_sigmoid": _hard_sigmoid,
    "linear": lambda x: x,
    "relu": torch.relu,
    "selu": torch.selu,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "swish": functional.silu,
    "tanh": torch.tanh,
}


class Tower(nn.Module):
    """Three layers with an activation.

    Parameters
    ----------
    n_inputs
        Number of inputs.
    widths
        Units of each layer.
    params
        The parameters of a configuration.
    normalized
        Whether each layer is followed by batch normalization.
    """

    def __init__(
        self, n_inputs: int, widths: list[int], params: Mapping[str, Any], normalized: bool
    ) -> None:
        super().__init__()
        sizes = [n_inputs, *widths]
        self.layers = nn.ModuleList(map(_linear, sizes, widths))
        # The momentum and epsilon of Keras.
        norms = [nn.BatchNorm1d(n, eps=1e-3, momentum=0.01) for n in widths] if normalized else []
        self.norms = nn.ModuleList(norms)
        self.activation = ACTIVATIONS[params["activation"]]
        self.dropout = float(params["dropout"])
        self.is_residual = bool(params["residual"])

    def forward(self, x: Tensor) -> Tensor:
        """Return the units of the last layer ``(n, widths[-1])`` for inputs ``(n, n_inputs)``."""
        for i, layer in enumerate(self.layers):
            h = self.activation(layer(x))
            if self.norms:
                h = self.norms[i](h)
            if self.dropout > 0.0 and self.training:
                h = functional.dropout(h, self.dropout)
            if self.is_residual and h.shape == x.shape:
                h = h + x
            x = h
        return x


class Combo(nn.Module):
    """The whole network for a configuration of `combo.space.SPACE`."""

    def __init__(self, n_cell: int, n_drug: int, params: Mapping[str, Any]) -> None:
        super().__init__()
        feature = [_width(params[f"dense_feature_layer_{i}"]) for i in range(3)]
        joint = [_width(params[f"dense_{i}"]) for i in range(3)]
        self.cell = Tower(n_cell, feature, params, normalized=False)
        self.drug = Tower(n_drug, feature, params, normalized=False)
        self.joint = Tower(3 * feature[-1], joint, params, bool(params["batch_normalization"]))
        self.output = _linear(joint[-1], 1)

    def forward(self, cells: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return the growth ``(n,)`` for features of cells ``(n, 64)`` and drugs ``(n, 128)``."""
        drugs = self.drug(torch.cat([first, second]))
        n = len(first)
        h = self.joint(torch.cat([self.cell(cells), drugs[:n], drugs[n:]], dim=1))
        return self.output(h).squeeze(1)


def _width(units: int) -> int:
    return max(1, round(units / WIDTH_DIVISOR))


def _linear(n_inputs: int, n_outputs: int) -> nn.Linear:
    layer = nn.Linear(n_inputs, n_outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
