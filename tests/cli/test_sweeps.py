"""Sweeps, -m, with a fake kiti.train: members are processes of their own, reported at the end."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from record_cases import make_record

from kiti.configuration.compose import compose
from kiti.storage import records
from kiti.storage.exit_status import ExitStatus

PROGRAM = """
from kiti.configuration.command import command
from kiti.launching.sweep import Sweep

@command("train", lambda module, swept, trace: Sweep("fake_member", swept, trace))
def main(composed):
    raise AssertionError("members run in processes of their own")

if __name__ == "__main__":
    main()
"""

# A member does what FAKE says for its experiment and seed: by default it writes its prepared record.
MEMBER = """
import json, os, signal, sys, time
from pathlib import Path
given = dict(one.split("=", 1) for one in sys.argv[1:] if not one.startswith("-"))
name = f"{given['experiment']}-{given.get('seed', 0)}"
place = Path(__file__).parent
print("working on", name, flush=True)

def save(number, frame):
    (place / f"saved-{name}").touch()
    sys.exit(75)

how = json.loads(os.environ["FAKE"]).get(name)
if how == "fail":
    sys.exit("ValueError: no such luck")
elif how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
elif how == "locked":
    sys.exit(4)
elif how == "wait":
    signal.signal(signal.SIGTERM, save)
    (place / f"ready-{name}").touch()
    time.sleep(120)
else:
    target = Path((place / name).read_text())
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(place / f"{name}.json", target)
"""


class Sweeps:
    """Starts sweeps over experiments and seeds, whose members are fake."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "program.py").write_text(PROGRAM)
        (place / "fake_member.py").write_text(MEMBER)

    def prepare(self, experiment: str, seed: int, error: float) -> None:
        overrides = [f"experiment={experiment}", "scale=smoke", f"seed={seed}", f"runs_dir={self.place}/runs"]
        composed = compose(overrides)
        metrics = {"test/relative_l2": error, "test/mse": 1.0}
        record = make_record(
            seed, experiment=experiment, config_hash=composed.hash, config=composed.config, metrics=metrics
        )
        records.write(record, self.place).rename(self.place / f"{experiment}-{seed}.json")
        (self.place / f"{experiment}-{seed}").write_text(str(composed.run_dir / records.FILE_NAME))

    def start(self, *arguments: str, **fake: str) -> "subprocess.Popen[str]":
        how = {name.replace("_", "-"): value for name, value in fake.items()}
        environment = os.environ | {"FAKE": json.dumps(how), "KITI_RUNS_DIR": f"{self.place}/runs", "COLUMNS": "200"}
        environment["PYTHONPATH"] = os.pathsep.join([str(self.place), environment.get("PYTHONPATH", "")])
        return subprocess.Popen(
            [sys.executable, str(self.place / "program.py"), "-m", "scale=smoke", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that a signal can be sent to all its processes, as by a terminal
        )

    def finish(self, *arguments: str, **fake: str) -> tuple[int, list[str], list[str]]:
        """Its exit status, and the lines of stdout and stderr."""
        process = self.start(*arguments, **fake)
        out, err = process.communicate(timeout=300)
        return process.returncode, out.splitlines(), err.splitlines()

    def wait_for(self, *names: str) -> None:
        deadline = time.monotonic() + 240
        while not all((self.place / name).exists() for name in names):
            assert time.monotonic() < deadline, names
            time.sleep(0.05)


@pytest.fixture
def sweeps(tmp_path: Path) -> Sweeps:
    return Sweeps(tmp_path)


LAUNCHERS = {
    "basic": (),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("hydra/launcher=submitit_local",),
}


def launcher(name: str, *marks: pytest.MarkDecorator) -> object:
    return pytest.param(LAUNCHERS[name], id=name, marks=marks)


SUBMITIT = pytest.mark.skipif(not find_spec("submitit"), reason="hydra-submitit-launcher is not installed")


@pytest.mark.parametrize(
    "how",
    [
        launcher("basic"),
        launcher("joblib", pytest.mark.slow),
        launcher("submitit_local", pytest.mark.slow, SUBMITIT),
    ],
)
def test_a_member_that_does_not_finish_ends_no_other(how: tuple[str, ...], sweeps: Sweeps) -> None:
    """Over experiments, with a value that the members' groups bring, and one member whose configuration is invalid."""
    sweeps.prepare("heat", 0, 0.25)
    sweeps.prepare("heat", 1, 0.125)
    status, out, err = sweeps.finish(
        "experiment=choice(burgers,burgers_mat,heat)",
        "seed=0,1",
        "optimizer.lr=0.001",
        *how,
        burgers_0="fail",
        burgers_1="killed",
    )
    assert status == ExitStatus.FAILED
    assert max(len(line.rstrip()) for line in out) <= 80
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in out if line.strip().startswith("experiment=")}
    assert rows == {
        ("experiment=burgers", "seed=0"): ["failed"],
        ("experiment=burgers", "seed=1"): ["failed"],
        ("experiment=burgers_mat", "seed=0"): ["bad", "input"],
        ("experiment=burgers_mat", "seed=1"): ["bad", "input"],
        ("experiment=heat", "seed=0"): ["0.25", "finished"],
        ("experiment=heat", "seed=1"): ["0.125", "finished"],
    }
    assert [line for line in out if "test/relative_l2" in line and "state" in line]
    ended = err[-4:]
    one, other = (line.removesuffix(")").split(" (log: ") for line in ended[:2])
    assert one[0] == "failed: scale=smoke experiment=burgers seed=0 optimizer.lr=0.001: ValueError: no such luck"
    assert "experiment=burgers seed=1" in other[0]
    assert other[0].endswith("killed by SIGKILL; last line: working on burgers-1")
    assert "working on burgers-0" in Path(one[1]).read_text()
    assert all(line.startswith("bad input: ") and "burgers_mat has no such scale" in line for line in ended[2:])


@pytest.mark.parametrize(
    ("fake", "status"),
    [
        ({}, ExitStatus.FINISHED),
        pytest.param({"burgers_0": "locked"}, ExitStatus.LOCKED, marks=pytest.mark.slow),
    ],
)
def test_the_exit_status_is_the_gravest(fake: dict[str, str], status: ExitStatus, sweeps: Sweeps) -> None:
    for experiment in ("burgers", "heat"):
        sweeps.prepare(experiment, 0, 0.5)
    ended, out, err = sweeps.finish("experiment=burgers,heat", **fake)
    assert ended == status, err
    assert sum(line.endswith("finished") for line in map(str.rstrip, out)) == 2 - len(fake)
    if fake:
        assert err[-1].startswith(
            "running elsewhere: scale=smoke experiment=burgers: another process has this run (log"
        )


@pytest.mark.parametrize("to_all", [False, True], ids=["SIGTERM", "Ctrl-C"])
@pytest.mark.parametrize("how", [launcher("basic"), launcher("joblib", pytest.mark.slow)])
def test_a_signal_stops_a_sweep_whose_members_save(how: tuple[str, ...], to_all: bool, sweeps: Sweeps) -> None:
    waiting = {f"burgers_{seed}": "wait" for seed in range(3)}
    process = sweeps.start("experiment=burgers", "seed=0,1,2", *how, **waiting)
    begun = ["burgers-0", "burgers-1"] if how else ["burgers-0"]
    sweeps.wait_for(*(f"ready-{name}" for name in begun))
    if to_all:  # as a terminal does
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=240)
    assert process.returncode == ExitStatus.STOPPED, err
    assert sorted(path.name for path in sweeps.place.glob("saved-*")) == [f"saved-{name}" for name in begun]
    assert not (sweeps.place / "ready-burgers-2").exists()
    states = [line.split(maxsplit=1)[1].strip() for line in out.splitlines() if line.strip().startswith("seed=")]
    assert states == ["stopped"] * len(begun) + ["not started"] * (3 - len(begun))


def test_a_signal_before_the_first_member_stops_a_sweep(tmp_path: Path) -> None:
    # A process of its own: the threads of pytest-xdist would take the signal.
    program = f"""
import os, signal, sys, time
from omegaconf import OmegaConf
from kiti.launching.sweep import Sweep

def start():
    os.kill(os.getpid(), signal.SIGTERM)
    deadline = time.monotonic() + 60
    while not sweep.asked:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    sweeper = {{"_target_": "other"}}
    sweep.begins(OmegaConf.create({{"hydra": {{"sweep": {{"dir": {str(tmp_path)!r}}}, "sweeper": sweeper}}}}))

sweep = Sweep("fake_member", (), False)
sys.exit(sweep.run(start))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == ExitStatus.STOPPED, done.stderr
    assert [path.read_text() for path in tmp_path.rglob("stop")] == ["1"], "where its members look"


@pytest.mark.slow
def test_a_second_signal_kills_the_members(sweeps: Sweeps) -> None:
    member = sweeps.place / "fake_member.py"
    member.write_text(member.read_text().replace("sys.exit(75)", "time.sleep(120)"))
    process = sweeps.start("experiment=burgers", "seed=0,1", burgers_0="wait")
    sweeps.wait_for("ready-burgers-0")
    process.send_signal(signal.SIGTERM)
    sweeps.wait_for("saved-burgers-0")
    time.sleep(2.5)  # later than what counts as the same request
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=240)
    assert process.returncode == ExitStatus.STOPPED
    assert "killed by SIGKILL" in err


def test_a_sweep_is_not_one_of_several_processes(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    status, out, [line] = sweeps.finish("experiment=burgers", "seed=0,1")
    assert (status, out) == (ExitStatus.BAD_INPUT, [])
    assert line.startswith("kiti-train: -m is one process, which starts those of its members, and this is one of 2;")
