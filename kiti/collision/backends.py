"""The modules that collide features in compiled code, imported on first use.

numba takes a second to import, and a machine with a GPU may not need it.
"""

import functools
from importlib import import_module
from types import ModuleType

_MODULES = {"numba": "kiti.collision.cpu.numba_backend", "triton": "kiti.collision.gpu.triton_backend"}


@functools.cache
def backend(name: str) -> ModuleType:
    """`cpu.numba_backend` or `gpu.triton_backend`, by the name of the implementation.

    Raises:
        ImportError: the package is missing; the message says what to do.
    """
    try:
        return import_module(_MODULES[name])
    except ImportError as error:
        raise ImportError(
            f"the compiled collision on the CPU needs the package numba ({error}): pip install numba; "
            "collide's implementation='literal' does not need it"
        ) from error
