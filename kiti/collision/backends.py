"""The modules that collide features in compiled code, imported when first called for.

numba takes a second to import, and a machine with a GPU may do without it.
"""

import functools
from importlib import import_module
from types import ModuleType

_MODULES = {"numba": "kiti.collision.cpu.numba_backend", "triton": "kiti.collision.gpu.triton_backend"}


@functools.cache
def backend(name: str) -> ModuleType:
    """`cpu.numba_backend` or `gpu.triton_backend`, by the name of the implementation.

    Raises:
        ImportError: the package is not there; what would do.
    """
    try:
        return import_module(_MODULES[name])
    except ImportError as error:
        raise ImportError(
            f"the compiled collision on the CPU needs the package numba ({error}): pip install numba; "
            "collide's implementation='literal' does without"
        ) from error
