"""From a drawing to PNG and SVG: the same drawing gives the same bytes, whenever and wherever it is made."""

import io
from collections.abc import Callable
from typing import Any

_PNG_DPI = 150
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "kiti",  # otherwise the ids in an SVG are random
    "svg.fonttype": "path",  # looks the same wherever it is opened
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "legend.fontsize": 8.0,
}
# Nothing of the moment or the machine: the same records draw the same bytes.
_ANONYMOUS: dict[str, dict[str, Any]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


def rendered(inches: tuple[float, float], draw_on: Callable[[Any], None]) -> dict[str, bytes]:
    """What `draw_on` draws on a figure of this size, as PNG and SVG; the same drawing gives the same bytes."""
    import matplotlib  # half a second, and only drawing needs it
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        draw_on(figure)
        pictures = {}
        for ending, metadata in _ANONYMOUS.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, dpi=_PNG_DPI, metadata=metadata)
            pictures[ending] = buffer.getvalue()
    return pictures
