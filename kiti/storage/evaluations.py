"""What kiti-eval found, kept beside the record: one JSON line for each evaluation in `evaluations.jsonl`."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from kiti.storage.records import write_whole

FILE_NAME = "evaluations.jsonl"


def append(run_dir: Path, metrics: Mapping[str, float], about: Mapping[str, Any]) -> Path:
    """Add a line, whole or not at all. Metrics that are not finite are stored as null, as in records."""
    path = run_dir / FILE_NAME
    finite = {name: value if math.isfinite(value) else None for name, value in sorted(metrics.items())}
    line = json.dumps({**about, "metrics": finite}, ensure_ascii=False, allow_nan=False)
    with FileLock(run_dir / ".evaluations.lock"):
        before = path.read_bytes() if path.exists() else b""
        if before and not before.endswith(b"\n"):
            before += b"\n"
        write_whole(path, before + line.encode() + b"\n")
    return path
