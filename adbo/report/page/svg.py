"""Figures of matplotlib as SVG within a page.

Text stays text, so that it can be read aloud, searched and scaled. Points of large scatter plots
become one image, so that a page with all trials stays small. What must have the colour of the
page's text is drawn in `INK`, which becomes ``currentColor``: the page has a dark scheme, too.
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

#: The colours of Okabe and Ito, which people with any colour vision can tell apart.
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)

#: A grey that is visible on white and on black.
GREY = "#8A8A8A"

#: Stands for the colour of the page's text.
INK = "#010203"

#: Colours of values, from the best to the worst; their lightness alone orders them.
COLORMAP = "cividis"

#: Width and height of a figure in inches, at 72 units to the inch of the SVG.
SIZE = (5.0, 3.1)

#: Pixels to the inch of what is drawn as an image.
_DPI = 220

#: Factor over which a logarithmic axis goes, and the multiples of powers of 10 with ticks.
_TICKS = ((2000.0, (1.0,)), (40.0, (1.0, 3.0)))

#: Characters of a name that are shown in a figure.
_LENGTH = 28

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a name is a $
    "axes.unicode_minus": True,
    "font.family": ["sans-serif"],
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": INK,
    "figure.constrained_layout.use": True,
}


class Drawing:
    """A figure that is being drawn, and at the end its SVG."""

    def __init__(self, size: tuple[float, float]) -> None:
        self.figure = Figure(size)
        FigureCanvasSVG(self.figure)
        self.axes: Axes = self.figure.subplots()
        self.svg = ""


@contextmanager
def drawing(name: str, size: tuple[float, float] = SIZE) -> Iterator[Drawing]:
    """Draw a figure; its SVG is there after the context.

    Parameters
    ----------
    name
        Makes the ids within the SVG differ from those of other figures of the page.
    size
        Width and height in inches.
    """
    with rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that a font lacks, which the browser has
        drawn = Drawing(size)
        yield drawn
        file = io.StringIO()
        drawn.figure.savefig(file, format="svg", dpi=_DPI, transparent=True, metadata=_NO_METADATA)
        drawn.svg = _for_page(file.getvalue())


_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def _for_page(svg: str) -> str:
    """Return the element of an SVG document, scalable, in the colour of the page's text."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    tag, end, rest = svg.partition(">")
    tag = re.sub(r' (width|height)="[^"]*"', "", tag)
    rest = re.sub(r'<g id="[A-Za-z_.]*_?[0-9]*">', "<g>", rest)  # the same in every figure
    rest = rest.replace(f"fill: {INK}", "fill: currentColor")
    rest = rest.replace(f"stroke: {INK}", "stroke: currentColor")
    return f'{tag} aria-hidden="true" focusable="false"{end}{rest}'


def scale_logarithmically(axis: Axis) -> None:
    """Give the ticks of a logarithmic axis labels such as 0.01 and 1e-06.

    Those of matplotlib are in its notation of formulas, which figures of a page do not have.
    """
    low, high = sorted(abs(end) for end in axis.get_view_interval())
    factor = high / low if low > 0 else math.inf
    subs = next((subs for least, subs in _TICKS if factor > least), (1.0, 2.0, 5.0))
    axis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def clean(text: object, length: int = _LENGTH) -> str:
    """Return a text on one line of limited length, without characters that are no letters.

    Control characters, marks that reverse the direction of writing, and halves of characters,
    which have no encoding, become U+FFFD.
    """
    one_line = " ".join(str(text).split()) or "(empty)"
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") else c
        for c in one_line[: length + 1]
    )
    return shown if len(shown) <= length else f"{shown[: length - 1]}\N{HORIZONTAL ELLIPSIS}"
