"""The corpora and tokenizers that scripts/fetch_language_stand_ins.py makes. Without torch."""

from pathlib import Path

FETCH = "scripts/fetch_language_stand_ins.py"

STAND_INS = {
    "python_manual": "Python's manual, in place of FineWeb-Edu",
    "standard_library": "the sources of Python's standard library, in place of OpenCoder",
    "set_mm": "set.mm's comments, in place of MegaMath and Open-Web-Math",
}
"""What each corpus is."""


def stand_in_folder(data_dir: str | Path, name: str) -> Path:
    """Where a corpus of STAND_INS lies, as JSONL with the column `text`."""
    return Path(data_dir) / "corpora" / name
