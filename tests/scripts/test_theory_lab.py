"""Small versions of the theory's simulations, and the script that turns them into tables and pictures."""

import json
from pathlib import Path

import pytest
from script_cases import script

from kiti.neurons.theory import studies


def test_equilibrium():
    found = studies.equilibrium(0.1, 20, 300)
    assert found["steps"] == 100
    assert found["shares"] == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert found["lags"] == pytest.approx([1, -0.5, 0, 0, 0, 0], abs=0.02)
    assert found["outer_square"] == pytest.approx(1, abs=0.05)
    assert found["share_below"] == 1
    assert 0 < found["median_first"] <= found["latest_first"] < 100
    times, middles = [point[0] for point in found["curve"]], [point[2] for point in found["curve"]]
    assert (times[0], times[-1]) == (0, 100)
    assert middles[0] == pytest.approx(1, abs=0.1)
    assert middles[-1] < 0.1**0.5


def test_too_many_neurons_for_the_step_are_reported_as_diverging():
    found = studies.equilibrium(0.1, 400, 20)
    assert found["gain"] > 2
    assert found["diverged"]


def test_the_script_writes_what_its_record_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("theory_lab")
    monkeypatch.setattr(module, "EQUILIBRIA", [(0.2, 10, 20), (0.1, 400, 5)])
    monkeypatch.setattr(studies, "PAIR_TRIALS", 4)
    monkeypatch.setattr(studies, "DESCENT", studies.DESCENT | {"steps": 50, "seeds": 2})
    module.main(["--into", str(tmp_path)])
    names = {"lab.json"} | {f"{name}.{end}" for name in module.STUDIES for end in ("md", "png", "svg")}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert "never, it grows" in (tmp_path / "appendix_j.md").read_text()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    module.main(["--into", str(tmp_path), "--rebuild"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(json.loads(before["lab.json"])["descent"]) == 7


def test_nothing_to_rebuild_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"lab.json: .*; run without --rebuild to create it"):
        script("theory_lab").main(["--into", str(tmp_path), "--rebuild"])


def test_committed_outputs_match_their_record(tmp_path: Path) -> None:
    committed = Path(__file__).parents[2] / "experiments" / "theory"
    (tmp_path / "lab.json").write_bytes((committed / "lab.json").read_bytes())
    module = script("theory_lab")
    module.main(["--into", str(tmp_path), "--rebuild"])
    for name in module.STUDIES:
        assert (tmp_path / f"{name}.md").read_bytes() == (committed / f"{name}.md").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in committed.iterdir()}
