"""Archives come from the folder that is given, or through their registry's client, and are verified; then read."""

import hashlib
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from debian_cases import tar, write_deb

from kiti.data.fetching.archives import Archive, FetchError, download, in_deb, in_tar, sha256

CONTENT = b"an archive"
SUM = hashlib.sha256(CONTENT).hexdigest()
WHEEL = Archive("some-package", "1.2", SUM, "MIT")
KINDS = [WHEEL, WHEEL._replace(kind="sdist"), WHEEL._replace(kind="npm"), WHEEL._replace(kind="deb")]


def client(monkeypatch: pytest.MonkeyPatch, *, writes: bytes = b"", returncode: int = 0, stderr: str = "") -> list[Any]:
    """Takes the place of pip, npm and apt-get; the commands that it was asked to run."""
    asked = []

    def run(command: list[str], cwd: Path, **_: object) -> SimpleNamespace:
        asked.append(command)
        if writes:
            (cwd / "some-package_1.2.file").write_bytes(writes)
        return SimpleNamespace(returncode=returncode, stderr=stderr)

    monkeypatch.setattr(subprocess, "run", run)
    return asked


@pytest.mark.parametrize("archive", KINDS, ids=lambda one: one.kind)
def test_the_registry_is_asked_once(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = client(monkeypatch, writes=CONTENT)
    path = download(archive, tmp_path, None)
    assert path.read_bytes() == CONTENT
    assert download(archive, tmp_path, None) == path
    (command,) = asked
    assert {"wheel": "download", "sdist": "download", "npm": "pack", "deb": "download"}[archive.kind] in command
    if archive.registry == "PyPI":
        assert (tmp_path / "wanted.txt").read_text() == f"some-package==1.2 --hash=sha256:{SUM}\n"
        assert "--no-deps" in command
        assert ("--only-binary" in command) == (archive.kind == "wheel")
    else:
        assert command[-1] in ("some-package@1.2", "some-package=1.2")


def test_a_given_folder_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = client(monkeypatch)
    given, into = tmp_path / "given", tmp_path / "into"
    given.mkdir()
    into.mkdir()
    (given / "any-name").write_bytes(CONTENT)
    (given / "some-package_3_all.deb").write_bytes(b"another version")
    assert download(WHEEL, into, given).name == "any-name"
    any_version = WHEEL._replace(kind="deb", sha256=None)
    assert download(any_version, into, given).name == "some-package_3_all.deb"
    assert not asked


def test_debian_may_have_another_version_where_no_checksum_is_known(tmp_path: Path, monkeypatch) -> None:
    asked = client(monkeypatch, writes=b"whatever there is")
    download(WHEEL._replace(kind="deb", sha256=None), tmp_path, None)
    assert asked == [["apt-get", "download", "some-package"]]


@pytest.mark.parametrize(
    ("archive", "said", "reason"),
    [
        (WHEEL, "note\nERROR: no version\nERROR: No matching distribution", "ERROR: No matching distribution"),
        (WHEEL._replace(kind="npm"), "npm error code E404\nnpm error a log of this run", "npm error code E404"),
        (WHEEL._replace(kind="deb"), "W: unsandboxed\nE: Unable to locate", "E: Unable to locate"),
        (WHEEL, "", "no such file"),
    ],
)
def test_a_failure_is_one_line(archive: Archive, said: str, reason: str, tmp_path: Path, monkeypatch) -> None:
    client(monkeypatch, returncode=1, stderr=said)
    with pytest.raises(FetchError) as failure:
        download(archive, tmp_path, None)
    line = str(failure.value)
    assert f"could not download some-package 1.2: {reason}; the file may also lie in the folder that" in line
    assert ("apt-get update" in line) == (archive.kind == "deb")
    assert "\n" not in line


def test_another_file_than_expected_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client(monkeypatch, writes=b"tampered with")
    with pytest.raises(FetchError, match=r"could not download some-package 1\.2: no such file"):
        download(WHEEL, tmp_path, None)


def test_a_machine_without_the_client_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match=r"some-package 1\.2 comes through apt-get, which is not on this machine"):
        download(WHEEL._replace(kind="deb"), tmp_path, None)


def test_the_wanted_files_of_a_package_of_debian_are_read(tmp_path: Path) -> None:
    files = {"./usr/share/a.txt": b"one", "./usr/share/b.mm": b"two" * 1000, "./usr/lib/c.txt": b""}
    write_deb(tmp_path / "some.deb", files)
    assert in_deb(tmp_path / "some.deb", lambda name: True) == files
    assert in_deb(tmp_path / "some.deb", lambda name: name.endswith("b.mm")) == {"./usr/share/b.mm": b"two" * 1000}


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"!<arch>\n" + b"x" * 100, b"something else"])
def test_what_is_not_a_package_of_debian_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "some.deb").write_bytes(content)
    with pytest.raises(FetchError, match=r"some\.deb is not a package of Debian"):
        in_deb(tmp_path / "some.deb", lambda name: True)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_file_of_a_tar_archive_is_read(mode: str, tmp_path: Path) -> None:
    packed = tar({"package/a.json": b"{}"}, mode)
    (tmp_path / "some.tgz").write_bytes(packed)
    assert in_tar(tmp_path / "some.tgz", "package/a.json") == in_tar(packed, "package/a.json") == b"{}"
    for absent in ("package/b.json", "package"):
        with pytest.raises(FetchError, match=rf"some\.tgz has no file {absent}"):
            in_tar(tmp_path / "some.tgz", absent)


def test_the_sum_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    assert sha256(tmp_path / "file") == SUM
