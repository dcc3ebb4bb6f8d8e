"""What a record of measurements or simulations says of its origin."""

from collections.abc import Mapping
from typing import Any

from kiti.report.formats import duration

PACKAGES = ("kiti", "torch", "numba", "triton", "torchvision", "transformers")
"""Those whose versions such a record has."""


def provenance(record: Mapping[str, Any]) -> str:
    """Where, when and with what the numbers were measured, in a sentence, and whether they are complete."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    commit = record["git"]["commit"][:10] + (" with changes" if record["git"]["dirty"] else "")
    cut_off = "" if record.get("complete", True) else f", cut off after {len(record['cases'])} cases"
    return (
        f"{record['device_name']}; {versions}; commit {commit}; {record['started']}, "
        f"{duration(record['wall_seconds'])} in all{cut_off}"
    )
