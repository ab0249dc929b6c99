"""matplotlib where it is installed, and what every picture is drawn and written with; without it there are no pictures.

Modules with pictures have its names from here. They are nothing where matplotlib is missing, and nobody asks for them:
`styled` then draws nothing.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

try:
    import matplotlib
    import matplotlib.style
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "matplotlib":
        raise
    matplotlib = Axes = LineCollection = Figure = Line2D = Patch = None  # type: ignore[assignment, misc]
    FuncFormatter = MaxNLocator = NullFormatter = PercentFormatter = None  # type: ignore[assignment, misc]

__all__ = [
    "WITHOUT_PICTURES", "Axes", "Figure", "FuncFormatter", "Line2D", "LineCollection", "MaxNLocator", "NullFormatter",
    "Patch", "PercentFormatter", "drawn", "inline_svg", "matplotlib", "png", "styled", "svg",
]  # fmt: skip

WITHOUT_PICTURES = (
    None if matplotlib else "pictures are left out, as matplotlib is not installed: pip install 'gridpact[report]'"
)
"""What is said where there are none."""

INK, GREY, PALE = "#222222", "#767676", "#d9d9d9"
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"

STYLE: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a $ in somebody's name is a $
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": "#ebebeb",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.solid_capstyle": "butt",
    "svg.fonttype": "none",
}
_SALT: dict[Any, Any] = {"svg.hashsalt": "gridpact"}

Subject = TypeVar("Subject")


def styled(plot: Callable[[Subject], Figure]) -> Callable[[Subject], Figure | None]:
    """Draws in the house's style, whatever the user's own matplotlib settings are, and leaves those alone; nothing
    where matplotlib is missing."""

    @wraps(plot)
    def in_style(subject: Subject) -> Figure | None:
        if matplotlib is None:
            return None
        with matplotlib.style.context(["default", STYLE]):
            return plot(subject)

    return in_style


def drawn(figures: Iterable[tuple[str, Figure | None]]) -> dict[str, Figure]:
    """Those that are pictures, by name: all of them, or none."""
    return {name: figure for name, figure in figures if figure is not None}


def svg(figure: Figure) -> str:
    """A figure as SVG with text as text; the same figure gives the same characters every time."""
    return _save(figure, "svg", metadata={"Date": None, "Creator": None}).decode()


def png(figure: Figure) -> bytes:
    """A figure as PNG, 200 dots an inch."""
    return _save(figure, "png", metadata={"Software": None})


def inline_svg(text: str, name: str, label: str) -> str:
    """A figure's SVG as an element for a page, beside others: ids of its own, no styles for the rest.

    Args:
        text: what `svg` gave.
        name: put before every id; letters only.
        label: what a screen reader says, escaped.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\sid=")', rf"\g<1>{name}-", text)
    text = re.sub(r'(href="#)', rf"\g<1>{name}-", text)
    text = text.replace("url(#", f"url(#{name}-")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _save(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.style.context(["default", STYLE]), matplotlib.rc_context(_SALT), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a browser has more letters than matplotlib
        figure.savefig(buffer, format=kind, metadata=metadata, facecolor="white")
    return buffer.getvalue()
