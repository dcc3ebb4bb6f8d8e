"""The plot of a sweep and the table of its points."""

import math

import pytest
from table_cases import KITI, build, fill_figure, lines_of, recorded, save

from kiti.report import publishing, sheets


def test_a_figure_and_its_numbers(runs_dir, experiments):
    fill_figure(runs_dir)
    sheet = sheets.load("paper/f", experiments)
    table = build("paper/f", experiments)
    contents = publishing.outputs(sheet, table)
    assert sorted(contents) == ["csv", "md", "png", "svg"]
    assert contents["png"].startswith(b"\x89PNG")
    assert len(contents["png"]) > 10_000
    assert b"<svg" in contents["svg"]
    assert publishing.outputs(sheet, build("paper/f", experiments)) == contents

    lines = lines_of(table)
    assert lines["1", "test/relative_l2", "FNO"].comparison.p < 0.05
    assert lines["1", "test/relative_l2", "FNO"].verdict == ""
    assert lines["8", "train/relative_l2", "FNO"].summary.mean == pytest.approx((0.15 + 0.013) / 2)
    [line] = [line for line in contents["md"].decode().splitlines() if "| 128 " in line and "test" in line]
    assert "not run: residual.collision_heads=128 does not divide" in line
    assert "published" not in contents["md"].decode().split("\n- ")[0]


def test_a_figure_shows_the_available_runs(runs_dir, experiments):
    sheet = sheets.load("paper/f", experiments)
    assert publishing.outputs(sheet, build("paper/f", experiments))["png"].startswith(b"\x89PNG")
    save(recorded(KITI, 0, 0.1), runs_dir)
    save(recorded(KITI, 1, math.nan), runs_dir)
    save(recorded([*KITI[:2], "residual.collision_heads=1"], 1, math.nan), runs_dir)
    contents = publishing.outputs(sheet, build("paper/f", experiments))
    assert contents["png"].startswith(b"\x89PNG")
    assert "nan (1 diverged)" in contents["md"].decode()
