"""The cache returns complete, verified data, whatever happens to the files or to the maker."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kiti.data.cache import DATA_FILE, MANIFEST_FILE, materialise, recipe_fingerprint

RECIPE = {"formula": "u_t = u_xx", "samples": 3, "viscosity": 0.1}
TENSORS = {"u0": torch.arange(12.0).reshape(3, 4), "u": torch.arange(24.0).reshape(4, 6).T[::2].double()}


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return TENSORS


@pytest.fixture
def make() -> Maker:
    return Maker()


def check(artefact) -> None:
    assert artefact.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(artefact.tensors[name], tensor)
        assert artefact.tensors[name].dtype == tensor.dtype


def test_generated_once_then_read(tmp_path: Path, make: Maker) -> None:
    first = materialise(tmp_path / "new", "heat", RECIPE, make)
    again = materialise(tmp_path / "new", "heat", dict(reversed(RECIPE.items())), make)
    assert make.calls == 1
    check(first)
    check(again)
    assert first.fingerprint == again.fingerprint == recipe_fingerprint(RECIPE)
    assert first.content_sha256 == again.content_sha256
    assert first.path == tmp_path / "new" / "heat" / first.fingerprint[:12]
    assert {path.name for path in first.path.iterdir()} == {DATA_FILE, MANIFEST_FILE}


def test_the_manifest_records_contents_but_no_paths(tmp_path: Path, make: Maker) -> None:
    artefact = materialise(tmp_path, "heat", RECIPE, make)
    text = (artefact.path / MANIFEST_FILE).read_text()
    manifest = json.loads(text)
    assert manifest["recipe"] == RECIPE
    assert manifest["sha256"] == artefact.content_sha256
    assert manifest["bytes"] == (artefact.path / DATA_FILE).stat().st_size
    assert manifest["tensors"]["u"] == {"shape": [3, 4], "dtype": "float64"}
    assert {"fingerprint", "kiti", "created"} < manifest.keys()
    assert str(tmp_path) not in text


def test_equal_content_elsewhere_has_the_same_hash(tmp_path: Path, make: Maker) -> None:
    one, other = (materialise(tmp_path / place, "heat", RECIPE, make) for place in "ab")
    assert one.content_sha256 == other.content_sha256


def test_each_recipe_has_its_own_artefact(tmp_path: Path, make: Maker) -> None:
    paths = {materialise(tmp_path, "heat", {**RECIPE, "samples": n}, make).path for n in (3, 4)}
    assert make.calls == len(paths) == 2


def test_a_recipe_must_be_json(tmp_path: Path, make: Maker) -> None:
    with pytest.raises(ValueError, match="JSON"):
        materialise(tmp_path, "heat", {"viscosity": float("nan")}, make)
    with pytest.raises(TypeError):
        materialise(tmp_path, "heat", {"grid": torch.zeros(1)}, make)
    assert make.calls == 0


def truncate(artefact: Path) -> None:
    os.truncate(artefact / DATA_FILE, 100)


def empty(artefact: Path) -> None:
    os.truncate(artefact / DATA_FILE, 0)


def flip_a_byte(artefact: Path) -> None:
    data = bytearray((artefact / DATA_FILE).read_bytes())
    data[-5] ^= 1
    (artefact / DATA_FILE).write_bytes(data)


def lose_the_data(artefact: Path) -> None:
    (artefact / DATA_FILE).unlink()


def lose_the_manifest(artefact: Path) -> None:
    (artefact / MANIFEST_FILE).unlink()


def cut_the_manifest(artefact: Path) -> None:
    os.truncate(artefact / MANIFEST_FILE, 40)


def alter_the_recipe(artefact: Path) -> None:
    manifest = artefact / MANIFEST_FILE
    manifest.write_text(manifest.read_text().replace('"samples": 3', '"samples": 4'))


def misshape_the_manifest(artefact: Path) -> None:
    (artefact / MANIFEST_FILE).write_text("[]")


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        empty,
        flip_a_byte,
        lose_the_data,
        lose_the_manifest,
        cut_the_manifest,
        alter_the_recipe,
        misshape_the_manifest,
    ],
)
def test_a_damaged_artefact_is_moved_aside_and_generated_again(damage, tmp_path: Path, make: Maker, caplog) -> None:
    sound = materialise(tmp_path, "heat", RECIPE, make)
    for n in (1, 2):
        damage(sound.path)
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            again = materialise(tmp_path, "heat", RECIPE, make)
        assert make.calls == 1 + n
        check(again)
        assert again.content_sha256 == sound.content_sha256
        aside = f"{sound.path.name}.broken-{n}"
        assert sound.path.with_name(aside).is_dir()
        [line] = caplog.messages
        assert str(sound.path) in line
        assert aside in line
        assert "\n" not in line


def test_a_failing_maker_leaves_no_files(tmp_path: Path, make: Maker) -> None:
    def fail() -> dict[str, Tensor]:
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        materialise(tmp_path, "heat", RECIPE, fail)
    assert [path for path in (tmp_path / "heat").iterdir() if path.suffix != ".lock"] == []
    check(materialise(tmp_path, "heat", RECIPE, make))


def test_reading_writes_nothing(tmp_path: Path, make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = materialise(tmp_path, "heat", RECIPE, make).path.parent
    (folder / f"{recipe_fingerprint(RECIPE)[:12]}.lock").unlink(missing_ok=True)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    directories = [path for path in [tmp_path, *before] if path.is_dir()]
    # Tests may run as root, whom permissions do not stop: no write may be attempted at all.
    monkeypatch.setattr("kiti.data.cache.FileLock", lambda path: pytest.fail("locked for reading"))
    for directory in directories:
        directory.chmod(0o555)
    try:
        check(materialise(tmp_path, "heat", RECIPE, make))
    finally:
        for directory in directories:
            directory.chmod(0o755)
    assert make.calls == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


# A separate process: appends a line to a side file when it generates, then waits for a file `go`.
PROCESS = """
import sys, time, torch
from pathlib import Path
from kiti.data.cache import materialise
root = Path(sys.argv[1])

def make():
    with (root / "made").open("a") as side:
        side.write("made\\n")
    while not (root / "go").exists():
        time.sleep(0.01)
    return {"u": torch.arange(1000.0)}

artefact = materialise(root / "data", "heat", {"samples": 1}, make)
print(artefact.content_sha256, float(artefact.tensors["u"].sum()))
"""


def start(root: Path, name: str) -> subprocess.Popen[bytes]:
    with (root / f"{name}.out").open("w") as out, (root / f"{name}.err").open("w") as err:
        return subprocess.Popen([sys.executable, "-c", PROCESS, str(root)], stdout=out, stderr=err)


def wait_for(condition, processes: list[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_two_processes_generate_it_once(tmp_path: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    processes += [start(tmp_path, "one"), start(tmp_path, "other")]

    def outputs() -> list[str]:
        return sorted((tmp_path / f"{name}.err").read_text() for name in ("one", "other"))

    # The winner is paused until the other has reported that it is waiting.
    wait_for(lambda: "\n" in outputs()[1], processes)
    (tmp_path / "go").touch()
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert (tmp_path / "made").read_text() == "made\n"
    assert outputs()[0] == ""
    [line] = outputs()[1].splitlines()
    assert line.startswith("waiting for another process that is generating")
    assert (tmp_path / "one.out").read_text() == (tmp_path / "other.out").read_text() != ""


def test_killed_while_generating_then_generated(tmp_path: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    processes.append(start(tmp_path, "one"))
    wait_for((tmp_path / "made").exists, processes)
    processes[0].send_signal(signal.SIGKILL)
    processes[0].wait()
    folder = tmp_path / "data" / "heat"
    assert [path for path in folder.iterdir() if ".making-" in path.name]
    assert not (folder / recipe_fingerprint({"samples": 1})[:12]).exists()

    def make() -> dict[str, Tensor]:
        return {"u": torch.ones(3)}

    artefact = materialise(tmp_path / "data", "heat", {"samples": 1}, make)
    assert torch.equal(artefact.tensors["u"], torch.ones(3))
    assert [path.name for path in folder.iterdir() if path.suffix != ".lock"] == [artefact.path.name]
