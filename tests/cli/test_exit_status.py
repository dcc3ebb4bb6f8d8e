"""How kiti-train ends, as a script sees it: docs/stopping.md."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kiti.storage.exit_status import EXIT_FILE, ExitStatus
from kiti.storage.run_dirs import locked_run_dir
from kiti.storage.stop_signals import STOPPING

ROOT = Path(__file__).parents[2]
SMOKE = ["experiment=burgers", "scale=smoke", "trainer.max_epochs=1"]

# kiti-train, which waits when its modules are imported, before torch is; or while data are made; or in the test.
WAITS = """
import sys, time
from pathlib import Path

import kiti.train

def wait(*_):
    Path({reached!r}).touch()
    while not Path({go!r}).exists():
        time.sleep(0.02)

class Imports:
    @staticmethod
    def find_spec(name, *_):
        assert name != "torch" or {phase!r} != "import"
        if name == "kiti.cli.train_command":
            wait()

if {phase!r} == "import":
    sys.meta_path.insert(0, Imports)
elif {phase!r} == "data":
    from kiti.data import burgers
    burgers.solve_burgers = wait
elif {phase!r} == "test":
    from kiti.tasks.operator_learning import OperatorLearning
    OperatorLearning.test_step = wait
kiti.train.main()
"""


def default_signals() -> None:
    """Whatever started the tests: a shell's background job ignores SIGINT, and nohup SIGHUP."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)


def nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class Command:
    """kiti-train in a process, with its runs and data in `place`."""

    def __init__(self, place: Path, *arguments: str, phase: str = "", hang_up: bool = True) -> None:
        self.reached, self.go = place / "reached", place / "go"
        program = place / "train.py"
        program.write_text(WAITS.format(reached=str(self.reached), go=str(self.go), phase=phase))
        places = {"KITI_RUNS_DIR": f"{place}/runs", "KITI_DATA_DIR": f"{place}/data", EXIT_FILE: f"{place}/exits"}
        self.exits = place / "exits"
        self.process = subprocess.Popen(
            [sys.executable, str(program), *arguments],
            env=os.environ | places | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            cwd=place,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=default_signals if hang_up else nohup,
        )

    def wait_until_reached(self) -> None:
        deadline = time.monotonic() + 120
        while not self.reached.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def ended(self) -> tuple[ExitStatus, str, str]:
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode in list(ExitStatus), err
        assert self.exits.read_text() == f"0 {self.process.returncode}\n"
        self.exits.unlink()
        return ExitStatus(self.process.returncode), out, err


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_before_torch_is_imported(number: signal.Signals, tmp_path: Path) -> None:
    command = Command(tmp_path, *SMOKE, phase="import")
    command.wait_until_reached()
    command.process.send_signal(number)
    status, _, errors = command.ended()
    assert status == ExitStatus.STOPPED
    assert errors == "stopped before training; the same command starts again\n"


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    command = Command(tmp_path, "experiment=burgers", "scale=nosuch", phase="import", hang_up=False)
    command.wait_until_reached()
    command.process.send_signal(signal.SIGHUP)
    command.go.touch()
    assert command.ended()[0] == ExitStatus.BAD_INPUT


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "number"), [("data", signal.SIGUSR2), ("test", signal.SIGHUP)])
def test_a_signal_outside_training(phase: str, number: signal.Signals, tmp_path: Path) -> None:
    command = Command(tmp_path, *SMOKE, phase=phase)
    command.wait_until_reached()
    command.process.send_signal(number)
    status, _, errors = command.ended()
    assert status == ExitStatus.STOPPED
    assert errors.splitlines()[-1] == (
        "stopped before training; the same command starts again"
        if phase == "data"
        else "stopped after training, which is saved; the same command goes on with the test"
    )
    status, _, errors = Command(tmp_path, *SMOKE).ended()
    assert status == ExitStatus.FINISHED
    assert ("step" in errors) == (phase == "data"), "after training it only tests"


@pytest.mark.slow
def test_finished_locked_and_failed(tmp_path: Path) -> None:
    status, out, _ = Command(tmp_path, *SMOKE).ended()
    assert status == ExitStatus.FINISHED
    run_dir = Path(out.splitlines()[-1]).parent
    with locked_run_dir(run_dir):
        assert Command(tmp_path, *SMOKE).ended()[0] == ExitStatus.LOCKED
    (tmp_path / "file").touch()
    status, _, errors = Command(tmp_path, *SMOKE, f"runs_dir={tmp_path}/file").ended()
    assert status == ExitStatus.FAILED
    assert "NotADirectoryError" in errors or "FileExistsError" in errors


@pytest.mark.slow
def test_diverged_also_when_finished_already(tmp_path: Path) -> None:
    diverging = [*SMOKE, "optimizer.lr=1e30"]
    status, out, _ = Command(tmp_path, *diverging).ended()
    assert status == ExitStatus.DIVERGED
    assert "nan" in out
    status, out, _ = Command(tmp_path, *diverging).ended()
    assert status == ExitStatus.DIVERGED
    assert out.startswith("finished already: ")
