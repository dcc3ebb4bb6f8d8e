"""Renders figures to PNG and SVG reproducibly: the same drawing gives the same bytes."""

import io
from collections.abc import Callable
from typing import Any

_PNG_DPI = 150
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "kiti",  # otherwise the ids in an SVG are random
    "svg.fonttype": "path",  # independent of installed fonts
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "legend.fontsize": 8.0,
}
# No dates or versions in the files.
_METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


def rendered(inches: tuple[float, float], draw_on: Callable[[Any], None]) -> dict[str, bytes]:
    """What `draw_on` draws on a figure of this size, as PNG and SVG."""
    import matplotlib  # takes half a second, and only drawing needs it
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        draw_on(figure)
        pictures = {}
        for ending, metadata in _METADATA.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, dpi=_PNG_DPI, metadata=metadata)
            pictures[ending] = buffer.getvalue()
    return pictures
