"""How loops in Python are compiled by numba: once a precision and processor, kept on disk, without the GIL.

Arithmetic is that of IEEE 754 as written, so that the backward accepts the very pairs of the forward, except where a
function may be `reassociated`: sums whose rounding decides nothing.
"""

import functools
import hashlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config as _config

_numba: Any = _config  # its options are set by name


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator, `numba.njit` with this project's settings; further options are numba's."""

    def compile_lazily(function: Callable[..., Any]) -> Any:
        settings = {"nogil": True, "error_model": "numpy", **options}
        others = _numba.CACHE_DIR
        try:
            _numba.CACHE_DIR = _folder(Path(inspect.getfile(function)).parent)
            return numba.njit(function, cache=True, **settings)
        except RuntimeError:  # no home, or no folder there may be written to
            return numba.njit(function, **settings)
        finally:
            _numba.CACHE_DIR = others

    return compile_lazily


def reassociated(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`compiled`, and sums may be taken in any order."""
    return compiled(fastmath={"reassoc"}, **options)


def _folder(sources: Path) -> str:
    """Where machine code is kept: a folder for each state of the sources."""
    base = _numba.CACHE_DIR or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kiti"
    return str(Path(base) / f"kernels-{_digest(sources)}")


@functools.cache
def _digest(sources: Path) -> str:
    """Of every file of the folder, and of this one: any may hold a function that another one's machine code contains.

    numba itself looks only whether a function's own file has changed, not those of the functions that it calls.
    """
    digest = hashlib.sha256()
    for source in (*sorted(sources.glob("*.py")), Path(__file__)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
