"""The names of the test functions and the dimensions in which they are defined."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dimensions:
    """The dimensions in which a test function is defined, and the one taken if none is given."""

    default: int
    smallest: int = 1
    largest: int = 10_000

    def __str__(self) -> str:
        if self.smallest == self.largest:
            return str(self.smallest)
        return f"an integer from {self.smallest} to {self.largest}"


DIMENSIONS = {
    "ackley": Dimensions(5),
    "levy": Dimensions(10),
    "griewank": Dimensions(10),
    "schwefel": Dimensions(5),
    "rosenbrock": Dimensions(5, smallest=2),
    "rastrigin": Dimensions(5),
    "sphere": Dimensions(5),
    "hartmann6": Dimensions(6, smallest=6, largest=6),
}

NAMES: tuple[str, ...] = tuple(DIMENSIONS)


def parse_name(text: str) -> tuple[str, int]:
    """Return the name and the dimension of a test function.

    Parameters
    ----------
    text
        For example ``ackley`` or ``ackley:10``.

    Raises
    ------
    ValueError
        If there is no such function, or it is not defined in that dimension.
    """
    name, colon, number = text.partition(":")
    dimensions = DIMENSIONS.get(name)
    if dimensions is None:
        raise ValueError(f"no test function {name!r}: there are {', '.join(NAMES)}")
    valid = not colon or (number.isascii() and number.isdigit())
    dimension = int(number) if valid and colon else dimensions.default
    if not valid or not dimensions.smallest <= dimension <= dimensions.largest:
        raise ValueError(f"the dimension of {name} is {number!r}: it must be {dimensions}")
    return name, dimension
