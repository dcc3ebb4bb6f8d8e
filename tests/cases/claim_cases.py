"""A made-up paper with sheets, committed outputs, records, a benchmark and a simulation, for rules on claims."""

import csv
import json
from pathlib import Path

import pydantic
import yaml
from record_cases import make_record

from kiti.report.claims.claim_sheet import Rule
from kiti.report.claims.evidence import Evidence
from kiti.report.tables.table_csv import HEADER
from kiti.storage import records

RUN = ["experiment=burgers"]
SCALES = {"paper": {"seeds": 3}, "laptop": {"seeds": 3}}
TABLE = {
    "kind": "table",
    "title": "A table",
    "scales": SCALES,
    "metrics": [{"key": "test/error", "label": "error", "published": True}, {"key": "test/other", "label": "other"}],
    "primary": ["ours"],
    "rows": [
        row
        for group, printed in (("A", ("2.0", "1.0")), ("B", ("2.0", "3.0")))
        for row in (
            {"group": group, "label": "base", "run": ["experiment=burgers"], "published": printed[0]},
            {
                "group": group,
                "label": "ours",
                "run": ["experiment=burgers"],
                "published": printed[1],
                "against": "base",
            },
            {"group": group, "label": "control", "run": ["experiment=burgers"], "against": "base"},
        )
    ],
}
SWEEP = {
    "kind": "figure",
    "title": "A sweep",
    "group": "A",
    "scales": SCALES,
    "x": {"key": "residual.coll_coef", "label": "coll_coef", "values": [0.1, 0.2]},
    "y_label": "error",
    "run": ["experiment=burgers"],
    "baseline_label": "base",
    "baseline": ["experiment=burgers"],
    "curves": [{"key": "test/error", "label": "test", "color": "tab:red"}],
}
STEPS = {
    "kind": "steps_to_value",
    "title": "Steps",
    "scales": SCALES,
    "metric": {"key": "val/loss", "label": "loss"},
    "ratios": ["steps", "time"],
    "rows": [
        {"group": "A", "label": "base", "run": ["experiment=burgers"]},
        {"group": "A", "label": "ours", "run": ["experiment=burgers"], "against": "base", "claimed": {"steps": "0.80"}},
    ],
}


class MadeUp:
    """The folder of experiments of a paper `p`, to which committed files are added."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("p/outputs", "p/records", "p/printed", "benchmarks", "theory"):
            (root / folder).mkdir(parents=True)
        for name, sheet in {"table1": TABLE, "sweep": SWEEP, "sweep2": SWEEP, "steps": STEPS}.items():
            (root / "p" / f"{name}.yaml").write_text(yaml.safe_dump(sheet))

    @property
    def evidence(self) -> Evidence:
        """Read anew."""
        return Evidence(self.root, "p")

    def output(self, lines, name="table1", scale="laptop"):
        """Commit an output with these lines, each given by the cells that are not empty."""
        with (self.root / "p" / "outputs" / f"{name}.{scale}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys([*HEADER, *(key for one in lines for key in one)])), "")
            writer.writeheader()
            writer.writerows(lines)

    def records(self, config_hash, values, key="test/error", **changes):
        """Commit a record for each seed with this metric, or with a dict of metrics."""
        made = [
            make_record(
                seed,
                config_hash=config_hash,
                scale="laptop",
                metrics=value if isinstance(value, dict) else {key: value},
                **changes,
            )
            for seed, value in enumerate(values)
        ]
        records.publish(made, self.root / "p" / "records" / "burgers-laptop.jsonl")

    def json(self, path, content):
        """Commit a benchmark or a simulation."""
        (self.root / path).write_text(json.dumps(content))


def line(row="ours", group="A", baseline="base", **cells):
    """A line of an output: a comparison at n = 3 if there is a baseline."""
    compared = {"baseline": baseline, "paired_n": 3, "effect": "points"} if baseline else {}
    values = {
        "problem": group,
        "row": row,
        "metric": "test/error",
        "n": 3,
        "seeds": "0 1 2",
        "config_hash": f"{row}{group}",
    }
    return values | {"scale": "laptop"} | compared | cells


def decided(verdict, group="A", difference=-1.0, half=0.5, **cells):
    """A primary comparison with this verdict."""
    low, high = difference - half, difference + half
    numbers = {"difference": difference, "ci_low": low, "ci_high": high, "p": 0.01, "printed_effect": -1.0}
    return line(group=group, primary="yes", verdict=verdict, **(numbers | cells))


def answer(made_up, **rule):
    """The answer of a rule as a sheet has it."""
    return pydantic.TypeAdapter(Rule).validate_python(rule).answer(made_up.evidence)
