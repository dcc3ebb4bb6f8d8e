"""Time and peak memory of calls, timed in turns so that a slow minute affects all alike."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.stats import quantile_test

Call = Callable[[], object]

# Error of a peak on a CPU, per thread: memory that threads keep, and partly used pages.
PEAK_RESOLUTION_BYTES = 100_000

# Seconds of a call, and bytes of a peak, above which a second measurement would hardly differ.
_LONG = 10.0
_HIGH = 1 << 30

# mallopt's parameters in malloc.h, and the values that glibc reaches by itself after blocks of 32 MiB were freed.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_STEADY = {_M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 64 << 20}
# Take blocks above 64 KiB directly from the system and return them: resident memory is memory in use.
_EXACT = {_M_MMAP_THRESHOLD: 64 << 10, _M_TRIM_THRESHOLD: 0}


@dataclass(frozen=True)
class Timing:
    """Seconds of every run of a call, by round."""

    rounds: list[list[float]]

    @property
    def median(self) -> float:
        return statistics.median(second for turn in self.rounds for second in turn)

    def summary(self) -> dict[str, float | int]:
        runs = [second for turn in self.rounds for second in turn]
        return {"median_s": self.median, "min_s": min(runs), "max_s": max(runs), "runs": len(runs)}


@dataclass(frozen=True)
class Ratio:
    """Seconds of one call over those of another, with the lower and the upper end of a range."""

    ratio: float
    lowest: float
    highest: float


def ratio(dividend: Timing, divisor: Timing) -> Ratio:
    """The ratio of the medians, and the range over rounds, in which both run close together."""
    turns = zip(dividend.rounds, divisor.rounds, strict=True)
    pairs = [statistics.median(a) / statistics.median(b) for a, b in turns]
    return Ratio(dividend.median / divisor.median, min(pairs), max(pairs))


def paired_ratio(dividend: Timing, divisor: Timing) -> Ratio:
    """The median over rounds of `dividend` over `divisor` within a round, with its 95 % interval by order statistics.

    Fewer than six rounds have no such interval: its ends are NaN.
    """
    turns = zip(dividend.rounds, divisor.rounds, strict=True)
    pairs = [statistics.median(a) / statistics.median(b) for a, b in turns]
    interval = quantile_test(pairs, q=1, p=0.5).confidence_interval(0.95)
    return Ratio(statistics.median(pairs), float(interval.low), float(interval.high))


def interleaved(
    calls: Mapping[str, Call], device: torch.device, *, rounds: int, least: int = 3, budget: float, most: int = 20
) -> dict[str, Timing]:
    """Time the calls in turns, each once per round, after three uncounted runs, or two if they take long.

    Rounds continue until `budget` seconds are spent, with at least `least` and at most `rounds`. Within its turn, a
    call faster than the slowest is repeated up to `most` times or for a tenth of the slowest's time, after one more
    uncounted run. Freed memory is returned to the system between turns, as this would otherwise be timed in a later
    call.
    """
    _set_malloc(_STEADY)
    once = {}
    for name, call in calls.items():
        call()  # uncounted: compiles, and finds memory as other calls left it
        once[name] = seconds(call, device)
        if once[name] < _LONG:
            once[name] = min(once[name], seconds(call, device))
    turn = max(once.values()) / 10
    repeats = {name: min(most, max(1, int(turn / spent))) for name, spent in once.items()}
    timed: dict[str, list[list[float]]] = {name: [] for name in calls}
    names = list(calls)
    start = time.perf_counter()
    with _no_garbage_collection():
        for done in range(rounds):
            if done >= min(least, rounds) and time.perf_counter() - start > budget:
                break
            for name in names:
                if repeats[name] > 1:  # its first run allocates memory again and has cold caches
                    calls[name]()
                timed[name].append([seconds(calls[name], device) for _ in range(repeats[name])])
                _trim(_STEADY[_M_TRIM_THRESHOLD])
            names.append(names.pop(0))  # vary the order between rounds
    return {name: Timing(turns) for name, turns in timed.items()}


def seconds(call: Call, device: torch.device) -> float:
    """Seconds of one run, until the device has finished."""
    _synchronize(device)
    start = time.perf_counter()
    call()
    _synchronize(device)
    return time.perf_counter() - start


def seconds_within(call: Call, device: torch.device) -> Callable[[], float]:
    """Run `call` within a larger timed call; the returned function gives the seconds once that has finished.

    This does not wait for a GPU, which would leave it idle and slow the larger call: CUDA events record the times.
    """
    if device.type != "cuda":
        spent = seconds(call, device)
        return lambda: spent
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.cuda.device(device):
        begin.record()
        call()
        end.record()
    return lambda: begin.elapsed_time(end) / 1e3


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def peak_bytes(call: Call, device: torch.device) -> int | None:
    """Peak memory of one run of `call`, above the memory in use before; None if the system cannot measure it.

    On a CPU it is the growth of the resident set, to within PEAK_RESOLUTION_BYTES per thread: Linux resets its peak on
    request, and glibc is set to keep no freed blocks, which would hide new allocations. The lowest of three runs
    counts, or the first if above 1 GiB: the first may permanently fill holes between older blocks.
    """
    lowest = _peak_bytes(call, device)
    for _ in range(2):
        if lowest is None or lowest > _HIGH:
            break
        again = _peak_bytes(call, device)
        lowest = None if again is None else min(lowest, again)
    return lowest


def _peak_bytes(call: Call, device: torch.device) -> int | None:
    gc.collect()
    if device.type == "cuda":
        _synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        _synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if not _set_malloc(_EXACT):
        return None
    try:
        _trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM := VmRSS
        before = _status_bytes("VmRSS")
        call()
        return max(0, _status_bytes("VmHWM") - before)
    except OSError:
        return None
    finally:
        _set_malloc(_STEADY)


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _trim(kept: int) -> None:
    """Return freed memory to the system, except `kept` bytes; does nothing without glibc."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(ctypes.c_size_t(kept))


def _set_malloc(parameters: Mapping[int, int]) -> bool:
    """Set malloc parameters; False without glibc."""
    libc = ctypes.CDLL(None)
    if not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        return False
    return all(libc.mallopt(parameter, value) for parameter, value in parameters.items())
