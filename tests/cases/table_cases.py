"""Shared by the tests of tables and figures: sheets, and records as runs would write them."""

import yaml
from record_cases import make_record

from kiti.configuration.compose import compose
from kiti.configuration.identity import revisions
from kiti.report import sheets, tables
from kiti.report.table_runs import Archive, plan
from kiti.storage import records

TABLE = {
    "kind": "table",
    "title": "A table",
    "scales": {"smoke": {"seeds": [0, 1, 2]}},
    "primary": ["KITI-FNO"],
    "metrics": [
        {"key": "test/relative_l2", "label": "relative L2", "published": True},
        {"key": "test/mse", "label": "MSE"},
    ],
    "rows": [
        {"group": "Burgers", "label": "FNO", "run": ["experiment=burgers"], "published": "0.00217"},
        {
            "group": "Burgers",
            "label": "KITI-FNO",
            "run": ["experiment=burgers", "residual=kiti", "residual.collision_heads=8"],
            "published": "0.00166",
            "against": "FNO",
        },
    ],
}
FIGURE = {
    "kind": "figure",
    "title": "A figure",
    "group": "Burgers",
    "scales": {"smoke": {"seeds": [0, 1, 2]}},
    # At this scale the grid has 64 points, which 128 does not divide.
    "x": {"key": "residual.collision_heads", "label": "collision_heads", "values": [1, 8, 128], "log_base": 2},
    "y_label": "relative L2",
    "curves": [
        {"key": "train/relative_l2", "label": "train", "color": "tab:blue"},
        {"key": "test/relative_l2", "label": "test", "color": "tab:red"},
    ],
    "run": ["experiment=burgers", "residual=kiti"],
    "baseline_label": "FNO",
    "baseline": ["experiment=burgers"],
}
VANILLA = ["experiment=burgers"]
KITI = ["experiment=burgers", "residual=kiti", "residual.collision_heads=8"]


def folder_of(tmp_path, **described):
    """A folder for one paper, with these sheets by name."""
    folder = tmp_path / "experiments"
    (folder / "paper").mkdir(parents=True)
    for name, sheet in described.items():
        (folder / "paper" / f"{name}.yaml").write_text(yaml.safe_dump(sheet))
    return folder


def recorded(overrides, seed, error, **changes):
    """A record as that run would write it, with this relative L2 error."""
    composed = compose([*overrides, "scale=smoke", f"seed={seed}"])
    metrics = {"test/relative_l2": error, "test/mse": error**2, "train/relative_l2": error / 2}
    of_run = {"config_hash": composed.hash, "config": composed.config, "metrics": metrics}
    return make_record(seed, **of_run | {"revisions": revisions(composed.checked)} | changes)


def save(record, runs_dir):
    folder = runs_dir / record.experiment / record.config_hash / f"seed-{record.seed}"
    return records.write(record, folder)


def build(name, experiments, local=True):
    spec = sheets.load(name, experiments).table("smoke")
    archive = Archive.of_paper((experiments / name).parent, local)
    return tables.build(name, spec, "smoke", plan(spec, "smoke"), archive)


def lines_of(table):
    return {(line.filled.row.label, line.metric.key, line.against): line for line in table.lines if not line.repeats}


def fill_figure(runs_dir):
    for seed in range(3):
        save(recorded(VANILLA, seed, 0.20 + 0.01 * seed), runs_dir)
        for heads, error in ((1, 0.1), (8, 0.15)):
            overrides = [*KITI[:2], f"residual.collision_heads={heads}"]
            save(recorded(overrides, seed, error + 0.013 * seed), runs_dir)


def markdown(table):
    """The Markdown file, with the short view and the full one."""
    return tables.outputs(table)["md"].decode()
