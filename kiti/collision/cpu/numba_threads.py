"""Calls compiled loops in parallel, on torch's own threads.

torch's threads spin while they wait for work. Other threads would compete with that spinning for some 10 ms after each
of torch's operations, and each would have to be woken. experiments/benchmarks/threads.cpu.md compares them with a pool
of Python's threads and with numba's `parallel=True`.
"""

import ctypes
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

# void GOMP_parallel(void (*region)(void *), void *data, unsigned threads, unsigned flags), provided by libgomp, libomp
# and Intel's OpenMP: every thread of the team calls the region once.
_Region = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_AS_MANY_AS_TORCH = 0


def each(function: Callable[..., None], calls: Iterable[tuple[Any, ...]]) -> None:
    """function(*arguments) for each of `calls`, in parallel in `torch.get_num_threads()` threads.

    Raises the error of the first call to fail, after running calls have finished; pending calls are not started.
    """
    calls = list(calls)
    left = iter(calls)  # a free thread takes the next call, so a slow thread delays no other
    failed: list[BaseException] = []

    def work(_: Any = None) -> None:
        try:
            for arguments in left:
                if failed:
                    break
                function(*arguments)
        except BaseException as error:  # a caller written in C would drop it
            failed.append(error)

    threads = min(torch.get_num_threads(), len(calls))
    if threads <= 1:
        work()
    elif _openmp is not None:
        _openmp(_Region(work), None, _AS_MANY_AS_TORCH, 0)
    else:
        others = [_threads().submit(work) for _ in range(threads - 1)]
        work()
        for other in others:
            if not other.cancel():
                other.result()
    if failed:
        raise failed[0]


def _find_openmp() -> Callable[..., None] | None:
    """The function that starts torch's threads; None if torch has no OpenMP, or one with another entry point."""
    try:
        start: Any = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (AttributeError, OSError):
        return None
    start.argtypes, start.restype = [_Region, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return start  # type: ignore[no-any-return]


_openmp = _find_openmp()
_pool: ThreadPoolExecutor | None = None


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="kiti-collision")
    return _pool


def _forget_threads() -> None:
    """A forked child inherits references to team and pool, but not their threads."""
    global _openmp, _pool
    _openmp, _pool = None, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
