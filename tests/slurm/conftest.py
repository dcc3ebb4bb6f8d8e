"""One SLURM cluster for all tests of this folder: `make test-slurm`."""

import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from slurm_cluster import NoCluster, started


@pytest.fixture(scope="session")
def cluster():
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does, it ends the cluster
    place = Path(tempfile.mkdtemp(prefix="kiti-slurm-"))  # pytest's own folders are closed to other users
    place.chmod(0o711)
    try:
        with started(place) as running:
            yield running
    except NoCluster as reason:
        pytest.exit(f"no SLURM cluster: {reason}", returncode=1)
    finally:
        shutil.rmtree(place, ignore_errors=True)
