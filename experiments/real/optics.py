"""Optics and antennas: stacks of thin films, a phase grating and an array of antennas.

Notation: thicknesses and wavelengths are in nm, refractive indices are complex where a medium
absorbs. Thin films are computed with the characteristic matrices of Born and Wolf, "Principles of
optics", section 1.6; Macleod, "Thin-film optical filters", treats the designs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from real.problem import FloatArray, Problem, choices, linear, vary

#: Refractive indices of titania and silica, which are evaporated in turns.
HIGH, LOW = 2.35, 1.46


def reflectance(
    layers: Sequence[tuple[complex, float]],
    substrate: complex,
    wavelength: FloatArray,
    angle: float = 0.0,
) -> FloatArray:
    """Return the reflectance of unpolarized light in air.

    Parameters
    ----------
    layers
        Refractive index and thickness of each layer, from the air to the substrate.
    substrate
        Its refractive index.
    wavelength
        The wavelengths (w,).
    angle
        The angle of incidence in radians.

    Returns
    -------
    FloatArray
        The mean of both polarizations (w,).
    """
    sine = np.sin(angle)

    def admittances(index: complex) -> tuple[Any, Any]:
        cosine = np.sqrt(1 - (sine / index) ** 2 + 0j)
        return cosine, np.array([[index * cosine], [index / cosine]])

    _, end = admittances(substrate)
    electric, magnetic = np.ones((2, len(wavelength)), dtype=complex), end
    for index, thickness in reversed(layers):
        cosine, eta = admittances(index)
        phase = 2 * np.pi * index * cosine * thickness / wavelength
        c, s = np.cos(phase), 1j * np.sin(phase)
        electric, magnetic = c * electric + s / eta * magnetic, s * eta * electric + c * magnetic
    _, start = admittances(1.0)
    r = (start * electric - magnetic) / (start * electric + magnetic)
    return np.mean(np.abs(r) ** 2, axis=0)


def _alternating(x: Sequence[Any], indices: Sequence[float]) -> list[tuple[complex, float]]:
    """Return layers of two materials in turns, with these thicknesses."""
    return [(indices[i % 2], float(thickness)) for i, thickness in enumerate(x)]


def antireflection(rng: np.random.Generator) -> Problem:
    """Minimize the reflectance (percent) of glass in the visible range at 0 and 45 degrees.

    Six layers of two materials; Macleod, chapter 4. The seed varies the indices.
    """
    substrate, *indices = vary(rng, [1.52, LOW, HIGH], 0.03)
    wavelength = np.linspace(400, 700, 31)

    def value(x: Sequence[Any]) -> float:
        layers = _alternating(x, indices)
        both = [reflectance(layers, substrate, wavelength, a) for a in (0.0, np.pi / 4)]
        return 100 * float(np.mean(both))

    return Problem(linear(**{f"layer{i}": (0.0, 200.0) for i in range(1, 7)}), value)


def bragg_mirror(rng: np.random.Generator) -> Problem:
    """Maximize the reflectance in a band (minimize the loss in percent): ten layers.

    The solution is near a Bragg mirror; Bennet, Juillet, Benarma and Teytaud et al., "An
    illustrated tutorial on global optimization in nanophotonics", JOSA B 41 (2024). The seed
    shifts the band and varies the indices.
    """
    substrate, *indices = vary(rng, [1.52, HIGH, LOW], 0.03)
    centre = rng.uniform(580, 620)
    wavelength = np.linspace(0.9 * centre, 1.1 * centre, 25)

    def value(x: Sequence[Any]) -> float:
        layers = _alternating(x, indices)
        return 100 * float(1 - np.mean(reflectance(layers, substrate, wavelength)))

    return Problem(linear(**{f"layer{i}": (10.0, 250.0) for i in range(1, 11)}), value)


def dichroic_filter(rng: np.random.Generator) -> Problem:
    """Reflect the long waves and transmit the short ones: twelve layers.

    The value is the mean of the reflectance in the pass band and of the transmittance in the stop
    band, in percent; Macleod, chapter 7, "Edge filters". The seed shifts the edge and the indices.
    """
    substrate, *indices = vary(rng, [1.52, HIGH, LOW], 0.03)
    edge = rng.uniform(560, 600)
    passed, stopped = np.linspace(420, edge - 25, 16), np.linspace(edge + 25, 720, 16)
    wavelength = np.concatenate([passed, stopped])

    def value(x: Sequence[Any]) -> float:
        r = reflectance(_alternating(x, indices), substrate, wavelength)
        return 50 * float(np.mean(r[:16]) + 1 - np.mean(r[16:]))

    return Problem(linear(**{f"layer{i}": (10.0, 200.0) for i in range(1, 13)}), value)


def solar_coating(rng: np.random.Generator) -> Problem:
    """Choose the materials and thicknesses of four layers on silicon: least sunlight reflected.

    The reflected part of the photons of a black body of 5800 K, in percent; Bouhafs et al.,
    "Design of antireflection coating for silicon solar cells", Solar Energy Materials 52 (1998).
    The seed varies the indices of the materials.
    """
    names = ("MgF2", "SiO2", "Al2O3", "Si3N4", "TiO2")
    indices = dict(zip(names, vary(rng, [1.38, 1.46, 1.76, 2.02, 2.45], 0.03), strict=True))
    wavelength = np.linspace(400, 1100, 36)
    photons = wavelength**-4.0 / (np.exp(14_388e3 / 5800 / wavelength) - 1)
    photons /= photons.sum()

    def value(x: Sequence[Any]) -> float:
        layers = [(indices[name], thickness) for name, thickness in zip(x[:4], x[4:], strict=True)]
        return 100 * float(photons @ reflectance(layers, 3.8 + 0.02j, wavelength))

    materials = choices(**{f"material{i}": names for i in range(1, 5)})
    return Problem(materials | linear(**{f"layer{i}": (5.0, 200.0) for i in range(1, 5)}), value)


def dammann_grating(rng: np.random.Generator) -> Problem:
    """Split a beam into 15 orders of given intensities by a binary phase grating of 8 transitions.

    Dammann and Goertler, "High-efficiency in-line multiple imaging by means of multiple phase
    holograms", Optics Communications 3 (1971). The value is the light lost, plus the relative root
    mean square deviation from the intensities, which are equal but for some percent of the seed.
    """
    orders = np.arange(1, 8)
    wanted = np.exp(rng.uniform(-0.05, 0.05, size=8))
    counts = np.array([1, *[2] * 7])  # an order and its mirror image
    wanted /= counts @ wanted
    signs = (-1.0) ** np.arange(9)

    def value(x: Sequence[Any]) -> float:
        edges = np.concatenate([[0.0], np.sort(x), [0.5]])
        zero = 2 * signs @ np.diff(edges)
        others = np.diff(np.sin(2 * np.pi * np.outer(orders, edges)), axis=1) @ signs
        intensity = np.concatenate([[zero], others / (np.pi * orders)]) ** 2
        efficiency = counts @ intensity
        deviation = counts @ (intensity / max(efficiency, 1e-9) / wanted - 1) ** 2 / 15
        return float(1 - efficiency + np.sqrt(deviation))

    return Problem(linear(**{f"transition{i}": (0.0, 0.5) for i in range(1, 9)}), value)


def antenna_array(rng: np.random.Generator) -> Problem:
    """Place 20 equal antennas symmetrically: low side lobes, and a sector that is lower still.

    Jin and Rahmat-Samii, "Advances in particle swarm optimization for antenna designs", IEEE
    Transactions on Antennas and Propagation 55 (2007). Ten spacings in wavelengths; the value is
    the highest side lobe in dB, where those of the sector count 10 dB more. The seed varies beam
    and sector.
    """
    beam, sector = rng.uniform(0.075, 0.085), rng.uniform(0.4, 0.6)
    u = np.linspace(beam, 1, 240)
    weight = np.where(np.abs(u - sector) < 0.03, 10.0, 0.0)

    def value(x: Sequence[Any]) -> float:
        place = np.cumsum(x) - x[0] / 2
        pattern = np.cos(2 * np.pi * np.outer(u, place)).mean(axis=1)
        return float(np.max(20 * np.log10(np.abs(pattern) + 1e-6) + weight))

    return Problem(linear(**{f"spacing{i}": (0.3, 1.2) for i in range(1, 11)}), value)


PROBLEMS = (
    antireflection,
    bragg_mirror,
    dichroic_filter,
    solar_coating,
    dammann_grating,
    antenna_array,
)
