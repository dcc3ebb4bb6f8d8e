"""What a YAML may and may not contain, and that every one in the repository composes."""

import pytest
import yaml
from table_cases import TABLE, VANILLA

from kiti.report import sheets
from kiti.report.sheets import SheetError
from kiti.report.table_runs import plan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [TABLE["rows"][0] | {"agianst": "FNO"}]}, "agianst"),
        ({"rows": [TABLE["rows"][0] | {"against": "KITI"}]}, "against 'KITI'"),
        ({"rows": [TABLE["rows"][0] | {"not_run": {"laptop": "too dear"}}]}, "not_run: laptop; the scales are smoke"),
        (
            {"rows": [TABLE["rows"][0], TABLE["rows"][0] | {"label": "again", "not_run": {"smoke": "too dear"}}]},
            "row Burgers/again: not_run at smoke, but the run of Burgers/FNO",
        ),
        ({"rows": [TABLE["rows"][0] | {"must_beat": "mean"}]}, "must_beat 'mean', which is not another row"),
        ({"rows": [TABLE["rows"][0], TABLE["rows"][0]]}, "duplicate row"),
        ({"rows": [TABLE["rows"][0] | {"published": "0,1"}]}, "published"),
        ({"rows": [TABLE["rows"][0] | {"published": ""}]}, "published"),
        ({"scales": {"smoke": {"seeds": []}}}, "seeds"),
        ({"scales": {"smoke": {"seeds": [1, 1]}}}, "duplicate seed"),
        ({"metrics": [{"key": "test/mse", "label": "MSE"}]}, "published: true"),
        ({"metrics": [m | {"published": True} for m in TABLE["metrics"]]}, "given by metric"),
        ({"rows": [TABLE["rows"][0] | {"published": {"MSE": "0.1"}}]}, "published: MSE is not a metric"),
        ({"rows": [TABLE["rows"][0] | {"published": {"relative L2": "0,1"}}]}, "published"),
        ({"metrics": [TABLE["metrics"][0] | {"of": ["Heat"]}]}, "of Heat, which no row belongs to"),
        ({"rows": [TABLE["rows"][0] | {"run": {"paper": VANILLA}}]}, "run is given for paper; the scales are smoke"),
        ({"rows": [TABLE["rows"][0] | {"keys": {"test/error": "test/mse"}}]}, "keys: test/error is not a metric"),
        ({"rows": [TABLE["rows"][0] | {"published_relative": -0.1}]}, "published_relative requires a row in `against`"),
        ({"kind": "plot"}, "kind"),
    ],
)
def test_a_mistake_in_the_yaml_is_reported_in_one_line(experiments, change, message):
    (experiments / "paper" / "t.yaml").write_text(yaml.safe_dump(TABLE | change))
    with pytest.raises(SheetError) as error:
        sheets.load("paper/t", experiments)
    assert message in str(error.value)
    assert "t.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sheets.names(sheets.EXPERIMENTS))
def test_every_sheet_of_the_repository_composes(name):
    sheet = sheets.load(name, sheets.EXPERIMENTS)
    for scale in sheet.scales:
        assert plan(sheet.table(scale), scale)
