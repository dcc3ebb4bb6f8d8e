"""Calls divided among torch's threads, or a pool's where torch's are unavailable."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from kiti.collision.cpu import numba_threads
from kiti.collision.cpu.numba_threads import each


@pytest.fixture(params=["openmp", "pool"], autouse=True)
def two_threads(request, monkeypatch):
    if request.param == "pool":
        monkeypatch.setattr(numba_threads, "_openmp", None)
    elif numba_threads._openmp is None:
        pytest.skip("torch has no OpenMP here")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_every_call_is_made_once():
    made = []
    each(lambda *numbers: made.append(numbers), [(n, -n) for n in range(100)])
    assert sorted(made) == [(n, -n) for n in range(100)]


def test_two_calls_run_in_parallel():
    meeting = threading.Barrier(2, timeout=60)
    met = []
    each(lambda who: met.append((meeting.wait(), who)), [(0,), (1,)])
    assert sorted(who for _, who in met) == [0, 1]


def test_a_single_thread_makes_all_calls():
    torch.set_num_threads(1)
    made = set()
    each(lambda _: made.add(threading.get_ident()), [(n,) for n in range(10)])
    assert made == {threading.get_ident()}


def test_reports_a_failure_and_starts_no_more_calls():
    made = []

    def fail(n):
        made.append(n)
        raise ValueError(f"call {n}")

    with pytest.raises(ValueError, match=r"call \d"):
        each(fail, [(n,) for n in range(100)])
    assert len(made) <= 2


def test_python_threads_may_call_concurrently():
    """As the replicas in one process do, or autograd's thread."""

    def total(_):
        made = []
        each(lambda n: made.append(n), [(n,) for n in range(50)])
        return sum(made)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(total, range(20))) == [1225] * 20
