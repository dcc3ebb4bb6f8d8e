"""A part is whole or absent, whenever a run is stopped; what a script has not made is left alone."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kiti.data.fetching.archives import FetchError
from kiti.data.fetching.whole import Part, make_missing

PREFIX = ".making-"


def file_part(data: Path, name: str, made: list[str], content: str = "right") -> Part:
    place = data / "files" / name

    def make(scratch: Path, target: Path) -> None:
        made.append(name)
        target.write_text(content)

    return Part(place, lambda: place.is_file() and place.read_text() == "right", make, frozenset({name}))


def folder_part(data: Path, name: str, made: list[str]) -> Part:
    place = data / name

    def make(scratch: Path, target: Path) -> None:
        made.append(name)
        target.mkdir()
        (target / "file").write_text("right")

    def complete() -> bool:
        return (place / "file").is_file() and (place / "file").read_text() == "right"

    return Part(place, complete, make, frozenset({"file"}))


@pytest.fixture(params=[file_part, folder_part], ids=["file", "folder"])
def kind(request: pytest.FixtureRequest) -> Callable[[Path, str, list[str]], Part]:
    return request.param


def test_what_is_missing_is_made_once(kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made: list[str] = []
    parts = {name: kind(tmp_path, name, made) for name in ("one", "two")}
    make_missing(tmp_path, PREFIX, {"one": parts["one"]})
    make_missing(tmp_path, PREFIX, parts)
    assert made == ["one", "two"]
    assert all(part.complete() for part in parts.values())
    assert capsys.readouterr().out.count("already there, verified") == 1
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def test_a_damaged_part_is_made_again(kind, tmp_path: Path) -> None:
    made: list[str] = []
    part = kind(tmp_path, "one", made)
    make_missing(tmp_path, PREFIX, {"one": part})
    file = part.place if part.place.is_file() else part.place / "file"
    file.write_text("wrong")
    make_missing(tmp_path, PREFIX, {"one": part})
    assert part.complete()
    assert made == ["one", "one"]
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    part = folder_part(tmp_path, "one", [])
    part.place.mkdir()
    (part.place / "mine").write_text("mine")
    with pytest.raises(FetchError, match="one is there but not what this script makes; move it away and run again"):
        make_missing(tmp_path, PREFIX, {"one": part})
    assert [path.name for path in part.place.iterdir()] == ["mine"]


def test_a_part_that_cannot_be_made_leaves_those_before(tmp_path: Path) -> None:
    def fail(scratch: Path, target: Path) -> None:
        target.write_text("half")
        raise FetchError("no network")

    parts = {"one": file_part(tmp_path, "one", []), "two": file_part(tmp_path, "two", [])._replace(make=fail)}
    with pytest.raises(FetchError, match="no network"):
        make_missing(tmp_path, PREFIX, parts)
    assert parts["one"].complete()
    assert not parts["two"].place.exists()
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def test_a_killed_run_leaves_nothing_that_is_read(kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    part = kind(tmp_path, "one", [])
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", killed)
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if there had been no time for it
        with pytest.raises(Killed):
            make_missing(tmp_path, PREFIX, {"one": part})
    assert not part.place.exists()
    assert list(tmp_path.glob(f"{PREFIX}*"))
    make_missing(tmp_path, PREFIX, {"one": part})
    assert part.complete()
    assert not list(tmp_path.glob(f"{PREFIX}*"))
