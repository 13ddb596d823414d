"""Synthetic measurements of cells under two drugs, as those of Combo but made from latent factors.

Each of 59 cells and 54 drugs has latent factors, and features that are noisy nonlinear functions
of them. The response of a cell to two drugs does not depend on the order of the drugs. Its noise
bounds the R2 that any model can reach: `CEILING`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

N_CELLS = 59
N_DRUGS = 54
N_CELL_FEATURES = 64
N_DRUG_FEATURES = 128

#: Numbers of measurements. The study had 85,303.
N_TRAINING = 4000
N_VALIDATION = 1000

#: The R2 of the response without noise, for the noisy one.
CEILING = 0.93

#: Number of latent factors of a cell and of a drug.
_N_LATENT = 4

#: Standard deviation of the noise of a feature; that of the feature without noise is about 0.6.
_FEATURE_NOISE = 0.1


class Measurements(NamedTuple):
    """Responses of cells to pairs of drugs.

    Parameters
    ----------
    cells, drugs
        Features of each cell ``(59, 64)`` and drug ``(54, 128)``.
    triples
        Cell and two drugs of each measurement ``(n, 3)``; the training ones come first.
    response
        Growth ``(n,)``.
    n_training
        Number of training measurements; the others are for validation.
    """

    cells: FloatArray
    drugs: FloatArray
    triples: NDArray[np.int64]
    response: FloatArray
    n_training: int


def make_measurements(
    seed: int = 0, n_training: int = N_TRAINING, n_validation: int = N_VALIDATION
) -> Measurements:
    """Return the measurements that a seed determines."""
    rng = np.random.default_rng(seed)
    cell_factors = rng.standard_normal((N_CELLS, _N_LATENT))
    drug_factors = rng.standard_normal((N_DRUGS, _N_LATENT))
    cells = _features(cell_factors, N_CELL_FEATURES, rng)
    drugs = _features(drug_factors, N_DRUG_FEATURES, rng)
    growth = growth_of(cell_factors, drug_factors, rng)
    n = n_training + n_validation
    numbers = rng.choice(N_CELLS * N_DRUGS * N_DRUGS, size=n, replace=False)
    triples = np.stack(np.unravel_index(numbers, growth.shape), axis=1).astype(np.int64)
    clean = growth[tuple(triples.T)]
    noise = clean.std() * np.sqrt(1 / CEILING - 1) * rng.standard_normal(n)
    return Measurements(cells, drugs, triples, clean + noise, n_training)


def _features(factors: FloatArray, n_features: int, rng: np.random.Generator) -> FloatArray:
    """Return noisy nonlinear projections ``(n, n_features)``, in units of their own."""
    weights = rng.standard_normal((factors.shape[1], n_features)) / np.sqrt(factors.shape[1])
    clean = np.tanh(factors @ weights + 0.5 * rng.standard_normal(n_features))
    noisy = clean + _FEATURE_NOISE * rng.standard_normal(clean.shape)
    return np.exp(rng.standard_normal(n_features)) * noisy + rng.standard_normal(n_features)


def growth_of(
    cell_factors: FloatArray, drug_factors: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Return the growth of each cell under each pair of drugs ``(59, 54, 54)``, symmetric.

    A drug has a potency in each cell. The potencies of two drugs add up, and similar drugs
    strengthen each other. Growth falls with the sum along a sigmoid, from 1 to -0.3.
    """
    mixing = rng.standard_normal((_N_LATENT, _N_LATENT)) / _N_LATENT
    potency = (
        0.8 * np.tanh(cell_factors @ mixing @ drug_factors.T)
        + 0.8 * np.tanh(drug_factors @ rng.standard_normal(_N_LATENT) / 2)
        + 0.4 * np.tanh(cell_factors @ rng.standard_normal(_N_LATENT) / 2)[:, np.newaxis]
    )
    similarity = np.tanh(drug_factors @ drug_factors.T / _N_LATENT)
    total = potency[:, :, np.newaxis] + potency[:, np.newaxis, :] + 0.5 * similarity
    return 1.0 - 1.3 / (1.0 + np.exp(-1.5 * total))
