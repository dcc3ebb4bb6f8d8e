"""Small packages of Debian, as `dpkg-deb` builds them."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def write_deb(path: Path, files: Mapping[str, bytes]) -> None:
    """An `ar` archive of `debian-binary`, of a control archive of odd length, and of `files` in data.tar.xz."""
    members = [("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", tar(files, "w:xz"))]
    content = b"!<arch>\n"
    for name, body in members:
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
        )
    path.write_bytes(content)


def tar(files: Mapping[str, bytes], mode: str) -> bytes:
    """A tar archive, with its folders."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, body in files.items():
            folder = tarfile.TarInfo(name.rpartition("/")[0])
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            file = tarfile.TarInfo(name)
            file.size = len(body)
            archive.addfile(file, io.BytesIO(body))
    return packed.getvalue()
