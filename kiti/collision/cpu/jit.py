"""Compiles Python loops with numba: once per precision and processor, cached on disk, without the GIL.

Arithmetic follows IEEE 754 as written, so that the backward accepts exactly the pairs of the forward. Only
`reassociated` functions deviate: sums whose rounding does not affect decisions.
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
    """A decorator: `numba.njit` with this project's settings; further options are passed to numba."""

    def compile_lazily(function: Callable[..., Any]) -> Any:
        settings = {"nogil": True, "error_model": "numpy", **options}
        others = _numba.CACHE_DIR
        try:
            _numba.CACHE_DIR = _folder(Path(inspect.getfile(function)).parent)
            return numba.njit(function, cache=True, **settings)
        except RuntimeError:  # no home, or no writable folder there
            return numba.njit(function, **settings)
        finally:
            _numba.CACHE_DIR = others

    return compile_lazily


def reassociated(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`compiled`, with sums in any order."""
    return compiled(fastmath={"reassoc"}, **options)


def _folder(sources: Path) -> str:
    """The cache folder for machine code, one for each state of the sources."""
    base = _numba.CACHE_DIR or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kiti"
    return str(Path(base) / f"kernels-{_digest(sources)}")


@functools.cache
def _digest(sources: Path) -> str:
    """Digest of all files in the folder, and this one: machine code may contain functions from any of them.

    numba itself only checks whether a function's own file has changed, not those of the functions that it calls.
    """
    digest = hashlib.sha256()
    for source in (*sorted(sources.glob("*.py")), Path(__file__)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
