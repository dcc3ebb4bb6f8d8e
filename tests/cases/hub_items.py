"""Small copies of the papers' sets, with the columns and the layout that they have on the hub."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

SUBJECTS_PER_GROUP = 57


def write_set(folder: Path, configs: dict[str, dict[str, list[dict[str, Any]]]]) -> Path:
    """Parquet files by config and split, and the README that names them."""
    named = []
    for config, splits in configs.items():
        for split, rows in splits.items():
            path = folder / config / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), path)
        files = [{"split": split, "path": f"{config}/{split}-*"} for split in splits]
        named.append({"config_name": config, "data_files": files})
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': named})}---\n")
    return folder


def arc(folder: Path, config: str = "ARC-Easy", number: int = 6) -> Path:
    rows = [
        {
            "id": str(place),
            "question": f"the sun is near {place}",
            "choices": {"text": ["red", "cold water", "the moon", "a stone"], "label": ["A", "B", "C", "D"]},
            "answerKey": "ABCD"[place % 4],
        }
        for place in range(number)
    ]
    return write_set(folder, {config: dict.fromkeys(("train", "validation", "test"), rows)})


def openbookqa(folder: Path) -> Path:
    rows = [
        {
            "id": str(place),
            "question_stem": f"the moon {place}",
            "choices": {"text": ["is cold", "falls", "melts", "has a sun"], "label": ["A", "B", "C", "D"]},
            "answerKey": "ABCD"[place % 4],
        }
        for place in range(5)
    ]
    return write_set(folder, {"main": dict.fromkeys(("train", "validation", "test"), rows)})


def hellaswag(folder: Path) -> Path:
    rows = [
        {
            "ind": place,
            "activity_label": "Stone",
            "ctx_a": "the stone [title] is cold.",
            "ctx_b": "the water",
            "ctx": "the stone is cold. the water",
            "endings": ["falls", "melts [step] under", "is warm", "has a moon"],
            "label": str(place % 4),
        }
        for place in range(5)
    ]
    return write_set(folder, {"default": dict.fromkeys(("train", "validation"), rows)})


def piqa(folder: Path) -> Path:
    rows = [
        {"goal": f"melt a stone {place}", "sol1": "warm the stone", "sol2": "cold water", "label": place % 2}
        for place in range(5)
    ]
    return write_set(folder, {"default": dict.fromkeys(("train", "validation"), rows)})


def winogrande(folder: Path) -> Path:
    rows = [
        {
            "sentence": f"the stone falls near the water {place} as _ is cold.",
            "option1": "the stone",
            "option2": "the water",
            "answer": str(1 + place % 2),
        }
        for place in range(5)
    ]
    return write_set(folder, {"winogrande_xl": dict.fromkeys(("train", "validation"), rows)})


def mmlu(folder: Path, subjects: list[str]) -> Path:
    def rows(subject: str, number: int) -> list[dict[str, Any]]:
        return [
            {
                "question": f"{subject} {place}?",
                "subject": subject,
                "choices": ["a", "the", "sun", "is"],
                "answer": place % 4,
            }
            for place in range(number)
        ]

    return write_set(
        folder,
        {subject: {"test": rows(subject, 2 + at % 3), "dev": rows(subject, 1)} for at, subject in enumerate(subjects)},
    )
