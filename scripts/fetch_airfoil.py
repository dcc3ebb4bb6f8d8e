"""Download the airfoil trajectories of MeshGraphNets from DeepMind's bucket.

    python scripts/fetch_airfoil.py data/meshgraphnets/airfoil

A file is downloaded as `<name>.part` and renamed after every checksum in it has been verified. Run again, the script
resumes interrupted or damaged downloads from the last valid record.
"""

import argparse
import http.client
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from kiti.data.generation_progress import progress_report
from kiti.data.meshgraphnets import AIRFOIL_FILES, AIRFOIL_URL, read_meta
from kiti.data.tfrecord import TFRecordError, records

STAND_IN = "`data=airfoil_euler` generates our own flows around airfoils, a stand-in for this set"
MB = 1_000_000
PIECE = 1 << 20


class FetchError(Exception):
    """Why a file could not be downloaded, in one line."""


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    try:
        args.folder.mkdir(parents=True, exist_ok=True)
        for name in args.files:
            fetch(f"{args.url}/{name}", args.folder / name, args.timeout)
    except (FetchError, OSError) as error:
        sys.exit(f"fetch_airfoil: {error}")
    except KeyboardInterrupt:
        sys.exit("fetch_airfoil: interrupted; run again to resume")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to put the files")
    parser.add_argument("--files", nargs="+", choices=AIRFOIL_FILES, default=AIRFOIL_FILES, help="only these files")
    parser.add_argument("--url", default=AIRFOIL_URL, help="the folder with the files")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds without a byte until giving up")
    return parser.parse_args(arguments)


def fetch(url: str, target: Path, timeout: float) -> None:
    """Download `target` from `url` unless it exists. Raises FetchError."""
    if target.exists():
        print(f"{target} already exists")
        return
    part = target.with_name(target.name + ".part")
    download(url, part, timeout)
    verify(url, part)
    part.rename(target)
    print(f"{target}: {target.stat().st_size:,} bytes, verified")


def download(url: str, part: Path, timeout: float) -> None:
    """Append the rest of `url` to `part`; download all of it if the server does not support ranges."""
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            there, total = extent(response, there)
            receive(response, part, there, total)
    except urllib.error.HTTPError as refused:
        # The request began after the last byte: the file is complete. 416 gives its length.
        if refused.code == 416 and refused.headers.get("Content-Range") == f"bytes */{there}":
            return
        if refused.code == 416:
            part.unlink()
            raise FetchError(f"{part} is longer than {url}: removed; run again to download it again") from refused
        raise FetchError(f"{url}: HTTP {refused.code} {refused.reason}; {STAND_IN}") from refused
    except urllib.error.URLError as unreachable:
        raise FetchError(f"{url} is unreachable ({unreachable.reason}); {STAND_IN}") from unreachable
    except (TimeoutError, ConnectionError, http.client.HTTPException) as broken:
        reason = str(broken) or type(broken).__name__
        raise FetchError(f"{url}: the connection broke ({reason}); run again to resume") from broken


def extent(response: http.client.HTTPResponse, there: int) -> tuple[int, int]:
    """The offset at which this response starts, and the length of the file."""
    if response.status == 200:
        length = response.headers.get("Content-Length")
        if length is None:
            raise FetchError(f"{response.url}: the response does not give the file's length")
        return 0, int(length)
    sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if sent is None or int(sent[1]) != there:
        raise FetchError(f"{response.url}: requested the bytes from {there} on, the response has others")
    return there, int(sent[2])


def receive(response: http.client.HTTPResponse, part: Path, there: int, total: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < total - there:
        raise FetchError(f"{part} needs {(total - there) / MB:,.0f} MB more; its disk has {free / MB:,.0f} MB free")
    with part.open("ab") as file, progress_report(f"{part.name.removesuffix('.part')}, MB") as report:
        file.truncate(there)
        while piece := response.read(PIECE):
            file.write(piece)
            there += len(piece)
            report(there // MB, total // MB)
    if there < total:
        raise ConnectionError(f"after {there:,} of {total:,} bytes")


def verify(url: str, part: Path) -> None:
    """Verify every checksum in `part`. On a mismatch, truncate `part` to the valid records and raise FetchError."""
    if part.name.endswith(".json.part"):
        try:
            read_meta(part)
        except ValueError as malformed:
            part.unlink()
            raise FetchError(f"{malformed}; removed; run again to download it again") from malformed
        return
    size = part.stat().st_size
    try:
        with progress_report(f"verifying {part.name.removesuffix('.part')}, MB") as report:
            for record in records(part):
                report(record.place.offset // MB, size // MB)
    except TFRecordError as damaged:
        with part.open("ab") as file:
            file.truncate(damaged.offset)
        raise FetchError(f"{damaged}; kept the valid part; run again to download the rest of {url}") from damaged


if __name__ == "__main__":
    main()
