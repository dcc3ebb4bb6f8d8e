"""A forked process acts like `python <command>`: arguments, output, environment, exit status, traceback."""

import os
import signal
import textwrap
import time

import pytest

from kiti.launching.worker_process import Forked


def exit_code(process: Forked) -> int | None:
    process.wait()
    return process.poll()


@pytest.fixture
def start(tmp_path):
    def make(code: str, *arguments: str, **environment: str) -> tuple[Forked, "os.PathLike[str]"]:
        (tmp_path / "program.py").write_text(textwrap.dedent(code))
        log = tmp_path / "log"
        log.touch()
        threads = {"OMP_NUM_THREADS": "1"}
        return Forked((str(tmp_path / "program.py"), *arguments), {**threads, **environment}, log), log

    return make


def test_a_file_with_arguments(start, tmp_path):
    process, log = start(
        """
        import atexit, os, sys, torch
        atexit.register(print, "last words")
        print(sys.argv[1:], os.environ["KITI_SAID"], torch.get_num_threads(), __name__, repr(sys.stdin.read()))
        print("trouble", file=sys.stderr)
        sys.exit(7)
        """,
        *("a", "b"),
        KITI_SAID="so",
        OMP_NUM_THREADS="2",
    )
    assert exit_code(process) == 7
    lines = log.read_text().splitlines()
    assert "['a', 'b'] so 2 __main__ ''" in lines
    assert {"trouble", "last words"} <= set(lines)


def test_a_module(tmp_path):
    log = tmp_path / "log"
    log.write_text("before\n")
    process = Forked(("-m", "json.tool", "--help"), {}, log)
    assert exit_code(process) == 0
    assert log.read_text().startswith("before\nusage:")


def test_an_error_is_in_the_log(start):
    process, log = start("raise ValueError('no such luck')")
    assert exit_code(process) == 1
    assert "ValueError: no such luck" in log.read_text()


def test_it_receives_signals(start, tmp_path):
    process, log = start("import time; print('there', flush=True); time.sleep(60)")
    deadline = time.monotonic() + 60
    while "there" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert exit_code(process) == -signal.SIGTERM
    process.send_signal(signal.SIGTERM)  # to the process it was meant for


def test_it_is_not_in_the_terminals_process_group(start):
    process, log = start("import os; print(os.getsid(0) == os.getpid())")
    assert exit_code(process) == 0
    assert log.read_text() == "True\n"
