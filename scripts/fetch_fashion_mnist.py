"""Download FashionMNIST for `data=fashion_mnist`, from Debian's package or through torchvision.

    python scripts/fetch_fashion_mnist.py data

Puts four files into `data/FashionMNIST/raw`, each complete and with the checksum that kiti expects. If all are there
already, nothing is done.
"""

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError

from torchvision.datasets import FashionMNIST

from kiti.data.fashion_mnist import SHA256, folder

PACKAGE, VERSION = "dataset-fashion-mnist", "0.0~git20200523.55506a9-1"
PACKAGE_SHA256 = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")


class FetchError(Exception):
    """Why the files could not be downloaded, in one line."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, help="kiti's data directory")
    parser.add_argument(
        "--source",
        choices=("debian", "torchvision"),
        default="debian" if shutil.which("apt-get") else "torchvision",
        help="default on this machine: %(default)s",
    )
    args = parser.parse_args(arguments)
    try:
        fetch(args.data_dir, args.source)
    except (FetchError, OSError) as error:
        sys.exit(f"fetch_fashion_mnist: {error}")


def fetch(data_dir: Path, source: str) -> None:
    """Put the four files below `data_dir` unless they are there. Raises FetchError."""
    place = folder(data_dir)
    if all((place / name).is_file() and sha256(place / name) == expected for name, expected in SHA256.items()):
        print(f"{place}: already there, verified")
        return
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetching-") as made:
        for name, path in (from_debian if source == "debian" else from_torchvision)(Path(made)).items():
            if sha256(path) != SHA256[name]:
                raise FetchError(f"{name} from {source} does not have the expected checksum; it was discarded")
            os.replace(path, place / name)
    print(f"{place}: {sum((place / name).stat().st_size for name in SHA256):,} bytes, verified")


def from_debian(into: Path) -> dict[str, Path]:
    """The files of the package, installed or downloaded, unpacked into `into`."""
    packed = INSTALLED
    if not packed.is_dir():
        archive = download(into)
        run("dpkg-deb", "--extract", str(archive), str(into / "package"))
        packed = into / "package" / INSTALLED.relative_to("/")
    unpacked = {name: into / name for name in SHA256}
    for name, path in unpacked.items():
        with gzip.open(packed / f"{name}.gz") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
    return unpacked


def download(into: Path) -> Path:
    """Debian's archive, verified."""
    run("apt-get", "download", f"{PACKAGE}={VERSION}", cwd=into)
    archives = list(into.glob("*.deb"))
    if len(archives) != 1 or sha256(archives[0]) != PACKAGE_SHA256:
        raise FetchError(f"apt-get downloaded a {PACKAGE} other than {VERSION}")
    return archives[0]


def from_torchvision(into: Path) -> dict[str, Path]:
    """The files that torchvision downloads; it verifies the archives' checksums."""
    try:
        FashionMNIST(into, train=True, download=True)
    except (RuntimeError, URLError) as error:
        raise FetchError(f"torchvision could not download them: {' '.join(str(error).split())}") from error
    return {name: folder(into) / name for name in SHA256}


def run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise FetchError(f"{' '.join(command)}: {reason}; try `apt-get update` or --source torchvision")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
