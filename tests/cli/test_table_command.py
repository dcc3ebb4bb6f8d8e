"""kiti-table: what it reads, what it refuses in one line, and that it stays fast."""

import signal
import subprocess
import sys
from dataclasses import replace
from subprocess import PIPE, Popen

import yaml
from table_cases import KITI, TABLE, VANILLA, recorded, save

from kiti.storage import records

SWEEPS = "sweep/coll_coef/EXPERIMENT, sweep/collision_heads/EXPERIMENT"


def test_a_corrupted_record_is_named(runs_dir, experiments, command):
    path = save(recorded(VANILLA, 0, 0.1), runs_dir)
    path.write_text("{")
    status, _, err = command("paper/t", "--scale", "smoke")
    assert status == 2
    assert str(path) in err
    assert err.count("\n") == 1


def test_only_some_problems(runs_dir, experiments, command):
    rows = [*TABLE["rows"], {"group": "Other", "label": "FNO", "run": ["experiment=heat"]}]
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"rows": rows}))
    save(recorded(VANILLA, 0, 0.2), runs_dir)
    status, text, _ = command("paper/t", "--scale", "smoke", "--only", "Burgers")
    assert status == 0
    assert "KITI-FNO" in text
    assert "| Other" not in text
    assert "| Other" in command("paper/t", "--scale", "smoke", "--only", "Other", "Burgers")[1]
    status, _, err = command("paper/t", "--scale", "smoke", "--only", "Heat")
    assert (status, err) == (2, "kiti-table: no rows of Heat in 'A table'; it has Burgers, Other\n")


def test_errors_for_unknown_names_list_the_known_ones(command):
    assert command("paper/x") == (
        2,
        "",
        f"kiti-table: no table or figure 'paper/x'; there are: paper/f, paper/t, {SWEEPS}\n",
    )
    assert command("model.width=8")[::2] == (
        2,
        "kiti-table: overrides without the NAME of a sweep; `kiti-table` alone lists what there is\n",
    )
    assert "it has: smoke" in command("paper/t", "--scale", "paper")[2]


def test_without_a_name_it_shows_what_there_is_and_how_to_fill_it(experiments, runs_dir, command):
    for seed in range(3):
        save(recorded(VANILLA, seed, 0.2 + 0.01 * seed), runs_dir)
    described = TABLE | {"scales": {"smoke": {"seeds": 3}, "laptop": {"seeds": 3}}}
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(described))
    outputs = experiments / "paper" / "outputs"
    outputs.mkdir()
    columns = "problem,row,metric,n,primary,verdict"
    lines = ["Burgers,FNO,test/relative_l2,3,,", "Burgers,KITI-FNO,test/relative_l2,0,yes,not run"]
    (outputs / "t.laptop.csv").write_text("\n".join([columns, *lines]) + "\n")
    status, text, _ = command()
    assert status == 0
    [row] = [line for line in text.splitlines() if "A table" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["paper", "t: A table", "laptop", "1 of 2", "–", "kiti-table paper/t --scale laptop --run"]
    lines[1] = "Burgers,KITI-FNO,test/relative_l2,3,yes,undecided"
    (outputs / "t.laptop.csv").write_text("\n".join([columns, *lines]) + "\n")
    [row] = [line for line in command()[1].splitlines() if "A table" in line]
    assert [cell.strip() for cell in row.strip("|").split("|")][3:] == ["2 of 2", "1 undecided", "–"]
    assert command("--run")[::2] == (2, "kiti-table: --run requires a NAME; kiti-table alone lists them\n")
    assert command("--format", "csv")[::2] == (2, "kiti-table: --format csv requires a NAME; the list is text\n")


def test_a_sheet_may_be_called_like_a_page(runs_dir, experiments, command):
    (experiments / "paper" / "coverage.yaml").write_text(yaml.safe_dump(TABLE))
    assert "KITI-FNO" in command("paper/coverage", "--scale", "smoke")[1]


def test_wide_shows_all_rows_in_each_format(runs_dir, experiments, command):
    """The second metric is in no line of the short view."""
    for style in ("md", "tex"):
        short, wide = (command("paper/t", "--scale", "smoke", "--format", style, *more)[1] for more in ([], ["--wide"]))
        assert "Holm's p" in wide
        assert wide.count("MSE") > short.split("<details>")[0].count("MSE")


def test_a_dry_run_prints_what_run_would_start(runs_dir, experiments, command):
    save(recorded(VANILLA, 0, 0.2), runs_dir)
    before = sorted(runs_dir.rglob("*"))
    status, text, _ = command("paper/t", "--scale", "smoke", "--run", "--dry-run")
    assert status == 0
    vanilla = "python -m kiti.train experiment=burgers scale=smoke"
    kiti = "python -m kiti.train experiment=burgers residual=kiti residual.collision_heads=8 scale=smoke"
    assert text.splitlines() == [
        f"{kiti} seed=0",
        *(f"{run} seed={seed}" for seed in (1, 2) for run in (vanilla, kiti)),
    ]
    assert sorted(runs_dir.rglob("*")) == before


def test_options_that_a_sheet_or_a_sweep_does_not_take(command):
    for more in (["--seeds", "3"], ["model.width=8"]):
        refused = "kiti-table: paper/t: a number of seeds and overrides are for sweeps; its YAML has its own\n"
        assert command("paper/t", *more)[::2] == (2, refused)
    status, _, err = command("sweep/coll_coef/burgers", "--publish")
    assert (status, err.count("\n")) == (2, 1)


def test_a_plan_with_runs_is_refused_in_one_line(command):
    for doing in ("--run", "--publish", "--rebuild"):
        status, out, err = command("paper/t", "--plan", doing)
        assert (status, out) == (2, "")
        assert err == f"kiti-table: --plan starts and writes nothing; leave out {doing}\n"


def test_a_plan_imports_torch_in_another_process_and_lightning_nowhere(runs_dir, experiments, command):
    """Torch takes seconds, in which the sheets are read. This process has torch and shows the same."""
    watched = (
        "import sys; from kiti.cli import table_command\n"
        "try:\n    table_command.main()\n"
        "finally:\n    print(sorted({'torch', 'pytorch_lightning'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", watched, "paper/t", "--scale", "smoke", "--plan", "--experiments", str(experiments)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "[]")
    assert "Total: 6 runs" in done.stdout
    assert command("paper/t", "--scale", "smoke", "--plan")[1] == done.stdout


def test_a_reader_that_leaves_ends_the_command_silently(runs_dir, experiments):
    arguments = ["paper/t", "--scale", "smoke", "--dry-run", "--experiments", str(experiments)]
    with Popen([sys.executable, "-m", "kiti.table", *arguments], stdout=PIPE, stderr=PIPE, text=True) as command:
        command.stdout.close()
        assert (command.stderr.read(), command.wait()) == ("", -signal.SIGPIPE)


def test_a_table_never_imports_torch(runs_dir, experiments):
    """A sweep with a missing run does: only the model knows whether the point exists at its scale."""
    for overrides in (VANILLA, KITI):
        for seed in range(2):
            save(recorded(overrides, seed, 0.1), runs_dir)
    watched = (
        "import sys; from kiti.cli import table_command\n"
        "try:\n    table_command.main()\n"
        "finally:\n    print(sorted({'torch', 'lightning', 'pytorch_lightning'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", watched, "paper/t", "--scale", "smoke", "--publish", "--experiments", str(experiments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_thousand_records(runs_dir, experiments, command, monkeypatch):
    monkeypatch.setattr(records.os, "fsync", lambda descriptor: None)  # a thousand fsyncs take seconds
    seeds = list(range(500))
    scales = {"smoke": {"seeds": seeds}}
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | {"scales": scales}))
    for overrides, error in ((VANILLA, 0.2), (KITI, 0.1)):
        first = recorded(overrides, 0, error)
        for seed in seeds:
            metrics = {"test/relative_l2": error + 1e-4 * (seed * 7919 % 101), "test/mse": error}
            save(replace(first, seed=seed, metrics=metrics), runs_dir)
    status, text, _ = command("paper/t", "--scale", "smoke")
    assert status == 0
    assert text.count("(n=500)") == 2 + 4, "two lines of the short view, four of the full one"
    assert "Seeds 0–499." in text
    assert "Runs: 1000 (1000 local" in text
