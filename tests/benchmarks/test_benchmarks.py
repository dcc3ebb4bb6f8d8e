"""The benchmarks measure what they claim, and their tables are built from their records."""

import json
import subprocess
import sys
import time
from math import isnan
from pathlib import Path
from typing import Any

import pytest
import torch
from script_cases import script

from benchmarks import benchmarking, measuring
from benchmarks.benchmarking import judge
from benchmarks.measuring import Timing, interleaved, peak_bytes, ratio

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
CPU = torch.device("cpu")
TIMED = {"median_s", "min_s", "max_s", "runs", "peak_bytes"}


def run(name: str, folder: Path, *options: str) -> dict[str, Any]:
    """The record of a quick run, once its table has been rebuilt from it exactly."""
    module, record, table, again = script(name), folder / "record.json", folder / "table.md", folder / "again.md"
    places = ["--json", str(record), "--markdown", str(table)]
    module.main(["--quick", "--repeats", "1", "--threads", str(torch.get_num_threads()), *options, *places])
    module.main([*options, "--from-json", str(record), "--markdown", str(again)])
    assert again.read_text() == table.read_text()
    found = json.loads(record.read_text())
    assert {"device_name", "threads", "versions", "git", "started", "wall_seconds", "settings", "marks"} <= set(found)
    assert found["device"] == "cpu"
    assert all(mark["state"] == "not measured" for mark in found["marks"] if mark["mark"].startswith("cuda"))
    return found


def test_navier_stokes_solver_record(tmp_path: Path) -> None:
    [case] = run("benchmark_navier_stokes", tmp_path)["cases"]
    assert 0 < case["our_error"] <= case["their_error"] < 1e-3
    assert case["our_steps"] < case["their_steps"]


@pytest.mark.slow
def test_collision_record(tmp_path: Path) -> None:
    record = run("benchmark_collision", tmp_path, "--only", "coll_coef=0.5")
    assert [case["particles"] for case in record["cases"]] == [16, 16, 1, 1]
    for case in record["cases"]:
        assert case["auto"] in case["implementations"]
        assert case["fastest"] in case["implementations"]
        literal = case["implementations"].pop("literal")
        assert literal["times_faster"] == 1
        assert case["implementations"]
        for row in case["implementations"].values():
            assert set(row) > TIMED
            assert row["partners"] == pytest.approx(literal["partners"], abs=0.1)
            assert max(row["value_difference"], row["gradient_difference"]) < 1e-5 or row["pairs_apart"]
    assert len([mark for mark in record["marks"] if mark["mark"].startswith("cpu")]) == 4


def test_duplicate_reduced_cases_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("benchmark_collision")
    monkeypatch.setattr(module, "quick_shapes", lambda: [module.Shape(name, 16, 2, 4) for name in ("first", "second")])
    record, table = tmp_path / "record.json", tmp_path / "table.md"
    module.main(["--quick", "--repeats", "1", "--only", "0.5 scale=1", "--json", str(record), "--markdown", str(table)])
    first, second = json.loads(record.read_text())["cases"]
    assert (first["same_as"], second["same_as"]) == (None, first["case"])
    assert first["implementations"] == second["implementations"]
    assert "second as first" in table.read_text()


def test_ko_record(tmp_path: Path) -> None:
    record = run("benchmark_ko", tmp_path)
    assert [(case["neurons"], case["inputs"]) for case in record["cases"]] == [(6, 8), (12, 8)]
    for case in record["cases"]:
        assert all(set(row) > TIMED for row in case["collisions"].values())
        assert case["collisions"]["soft"]["coll_coef"] == 0.1 / case["neurons"]
        assert case["collisions"]["hard"]["partners"] > 0
        assert case["collisions"]["hard"]["relative_change"] > 0


def test_placebos_record(tmp_path: Path) -> None:
    record = run("benchmark_placebos", tmp_path, "--only", "coll_coef=0.5|tiny head,")
    features, *gradients = record["cases"]
    assert list(features["rows"]) == ["the collision", "random_pairs", "means_only", "kicks_only", "sparse_noise"]
    for case in gradients:
        assert list(case["rows"]) == ["the collision", "noise", "random_pairs", "scale"]
    assert [case["case"].rpartition(", ")[2] for case in gradients] == ["soft", "hard"]
    for case in record["cases"]:
        collision = case["rows"]["the collision"]
        assert collision["times"] == 1
        for row in case["rows"].values():
            assert row["times"] == pytest.approx(row["median_s"] / collision["median_s"])
    assert {mark["state"] for mark in record["marks"]} <= {"reached", "not reached"}


@pytest.mark.slow
def test_step_record(tmp_path: Path) -> None:
    record = run("benchmark_step", tmp_path, "--models", "fno1d|gpt2|qwen2", "--heads", "8", "32")
    fno, gpt2, qwen2 = record["cases"]
    assert [row["variant"] for row in fno["variants"]] == ["add", "kiti heads=8", "kiti heads=32", "soft", "hard"]
    assert [row["variant"] for row in gpt2["variants"]] == ["add", "kiti heads=8"]
    assert [row["variant"] for row in qwen2["variants"]] == ["add", "soft", "hard"]
    assert (fno["seams"], gpt2["seams"], qwen2["seams"]) == (4, 2, 0)
    for case in record["cases"]:
        assert all(set(row) > TIMED for row in case["variants"])
        assert case["variants"][0]["longer"] == 0
    # The coefficient gives about one pair per system; a single particle has none.
    _, eight, thirty_two, *_ = fno["variants"]
    assert 0.2 < eight["partners"] * eight["particles"] / 2 < 5
    assert (thirty_two["particles"], thirty_two["partners"]) == (1, 0)
    assert len(qwen2["variants"][1]["neurons"]) == 7
    add, soft, hard = qwen2["variants"]
    assert "collision_s" not in add
    assert all(row["collision_s"] > 0 for row in (soft, hard))


@pytest.mark.slow
def test_ko_cost_record(tmp_path: Path) -> None:
    record = run("benchmark_ko_cost", tmp_path, "--only", "ResNet-18")
    assert [(case["depth"], case["classes"]) for case in record["cases"]] == [(18, 10), (18, 100)]
    for case in record["cases"]:
        assert [row["variant"] for row in case["variants"]] == ["add", "soft", "hard"]
        # Weights, their statistics and as many momentum entries as weights.
        assert case["held_bytes"] > 2 * 4 * case["parameters"]
        assert case["variants"][1]["neurons"] == [[case["classes"], 512]]
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| ResNet-18")]
    printed = [[cell.strip() for cell in line.split("|")[4::2]] for line in lines]
    assert [cells[:2] for cells in printed] == [  # the first rows of tables 4 and 5
        ["1.049", "1.0000"],
        ["1.590", "1.0019"],
        ["1.005", "1.0000"],
        ["2.838", "1.0019"],
    ]


def test_loops_record(tmp_path: Path) -> None:
    record = run("benchmark_step", tmp_path, "--loops")
    [case] = record["cases"]
    assert [row["loop"] for row in case["loops"]] == ["bare", "kiti", "timm", "timm --channels-last"]
    assert case["loops"][0]["longer"] == 0
    seconds = {row["loop"]: row["median_s"] for row in case["loops"]}
    assert case["kiti"]["over_timm"] == pytest.approx(seconds["kiti"] / seconds[case["kiti"]["timm_best"]])
    assert case["kiti"]["over_timm"] == pytest.approx(
        seconds["kiti"] / min(seconds["timm"], seconds["timm --channels-last"])
    )


def test_step_marks() -> None:
    module = script("benchmark_step")

    def case(model: str, longer: dict[int, float], soft: float) -> dict[str, Any]:
        kiti = [
            {
                "variant": f"kiti heads={32 // n}",
                "residual": "kiti",
                "collision": "none",
                "particles": n,
                "longer": more,
            }
            for n, more in longer.items()
        ]
        add = {"variant": "add", "residual": "add", "collision": "none", "longer": 0}
        return {
            "case": model,
            "variants": [add, *kiti, {**add, "variant": "soft", "collision": "soft", "longer": soft}],
        }

    cases = [case("fno1d", {32: 0.5, 4: 0.2, 1: 0.0}, soft=0.005), case("resnet50", {64: 0.04, 32: 0.06}, soft=0.02)]
    states = {mark.mark: (mark.state, mark.detail) for mark in module.marks(cases, "cuda", "paper")}
    by = {word: next(value for text, value in states.items() if word in text) for word in ("fno", "resnet50", "gpt2")}
    assert by["fno"][0] == "reached"
    assert "heads=8" in by["fno"][1]  # not the single-particle case
    assert by["resnet50"][0] == "not reached"
    assert "worst 6 %: resnet50 kiti heads=1" in by["resnet50"][1]
    assert by["gpt2"][0] == "not measured"
    assert states["cuda: soft collision at most 1% longer"][0] == "not reached"
    assert states["cuda: hard collision at most 3% longer"][0] == "not measured"
    assert {mark.state for mark in module.marks(cases, "cpu", "paper")} == {"not measured"}
    assert {mark.state for mark in module.marks(cases, "cuda", "quick")} == {"not measured"}


def collision_case(
    particles: int, partners: float, faster: float, memory: int | None = 30, returned: int = 1
) -> dict[str, Any]:
    row = {"partners": partners, "times_faster": faster, "peak_bytes": None if memory is None else 10 << 20}
    row["returned_bytes"] = returned << 20
    literal = {"partners": partners, "times_faster": 1.0, "peak_bytes": None if memory is None else 10 * memory << 20}
    return {
        "case": f"N{particles}",
        "particles": particles,
        "implementations": {"literal": literal, "fast": row},
        "auto": "fast",
        "operator": None,
    }


def test_collision_marks() -> None:
    cases = [
        collision_case(1, 0, 2, memory=1),  # has no pair: only "never slower" applies
        collision_case(2, 0.5, 20, memory=10),
        collision_case(64, 0.5, 60),
        collision_case(64, 30, 5),
        collision_case(64, 400, 1.5),
    ]
    marks = script("benchmark_collision").marks(cases, "cpu", threads=2)
    assert [mark.state for mark in marks[:4]] == ["not reached", "reached", "reached", "not reached"]
    assert "worst 20x: N2 (N=2); 1 of 2 cases reach it, all with N >= 64" in marks[0].detail
    assert "worst 5x" in marks[1].detail
    assert "worst 1.5x" in marks[2].detail
    assert "worst 10x" in marks[3].detail
    assert {mark.state for mark in marks[4:]} == {"not measured"}
    full = collision_case(4, 1, 60, memory=10, returned=6)  # 6 of 100 MiB are returned, so 1/20 is unreachable
    [*_, memory] = script("benchmark_collision").marks([cases[2], full], "cpu", threads=2)[:4]
    assert memory.state == "reached"
    assert memory.detail.endswith("1 of 1 cases reach it; left out, x' and its gradients alone being more: N4 (N=4)")
    unknown = script("benchmark_collision").marks([collision_case(64, 0.5, 60, memory=None)], "cpu", threads=2)
    assert unknown[3].state == "not measured"


def test_a_mark_is_decided_by_its_worst_case() -> None:
    values = [("a", 3.0), ("b", 5.0), ("c", None)]
    assert judge("m", values, at_least=3).state == "reached"
    assert judge("m", values, at_least=4, unit="x").detail == "worst 3x: a; 1 of 2 cases reach it"
    assert judge("m", values, at_most=4).detail == "worst 5: b; 1 of 2 cases reach it"
    assert judge("m", values, at_most=5).state == "reached"
    assert judge("m", [("c", None)], at_most=5).state == "not measured"
    with pytest.raises(ValueError, match="at_least or at_most"):
        judge("m", values)


@pytest.mark.parametrize("name", ["benchmark_collision", "benchmark_step", "benchmark_ko"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "tpu"], "'tpu': must be cpu or cuda"),
        (["--threads", "0"], "'0': must be a positive integer"),
        (["ONLY", "["], "'[' is not a regular expression"),
        (["ONLY", "nothing like it"], "'nothing like it' matches no case"),
        (["--from-json", "nowhere.json"], "nowhere.json: No such file"),
        (["--from-json", __file__], "has no record of benchmark"),
    ],
)
def test_unmeasurable_cases_are_reported_in_one_line(
    name: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    only = "--models" if name == "benchmark_step" else "--only"
    with pytest.raises(SystemExit) as stopped:
        script(name).main([only if option == "ONLY" else option for option in options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script("benchmark_collision").main(["--device", "cuda"])
    assert "no CUDA GPU is available" in capsys.readouterr().err.splitlines()[-1]


PEAKS = """
import json
import torch
from benchmarks.measuring import peak_bytes

torch.set_num_threads(1)

def peak(call):
    call()  # leaves freed blocks behind, which must not hide the next
    return peak_bytes(call, torch.device("cpu"))

held = torch.ones(8 << 18)  # present before and after: not counted

def one_after_the_other(mib):  # counts once
    for _ in range(3):
        torch.ones(mib << 18)

found = {mib: peak(lambda: one_after_the_other(mib)) for mib in (4, 64)}
print(json.dumps({**found, 0: peak(lambda: held.mul_(1.0))}))
"""


def test_peak_of_a_known_allocation() -> None:
    """In a separate process: here, memory left by other tests may be freed or paged in at any time."""
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    if None in found.values():
        pytest.skip("this system does not report it")
    for mib, peak in found.items():
        assert peak == pytest.approx(int(mib) << 20, abs=(int(mib) << 20) / 8 + (512 << 10)), mib


def test_rounds_are_interleaved_and_fast_calls_repeated() -> None:
    order: list[str] = []
    calls = {"slow": lambda: (order.append("slow"), time.sleep(0.05)), "quick": lambda: order.append("quick")}
    timings = interleaved(calls, CPU, rounds=3, budget=60, most=2)
    assert order[:6] == ["slow"] * 3 + ["quick"] * 3  # warm-up, not counted
    turn = ["quick"] * 3  # the first is not counted
    assert order[6:] == ["slow", *turn, *turn, "slow", "slow", *turn]
    assert [len(turn) for turn in timings["quick"].rounds] == [2, 2, 2]
    assert timings["slow"].summary()["runs"] == 3
    assert timings["slow"].median >= 0.05
    assert ratio(timings["slow"], timings["quick"]).lowest > 1


def test_a_long_call_has_two_warm_up_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_LONG", 0.0)
    order: list[str] = []
    interleaved({"long": lambda: order.append("long")}, CPU, rounds=1, budget=60, most=1)
    assert order == ["long"] * 3


def test_a_high_peak_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([5, 3, 4, 9, 2])
    monkeypatch.setattr(measuring, "_peak_bytes", lambda *_: next(peaks))
    monkeypatch.setattr(measuring, "_HIGH", 8)
    assert peak_bytes(lambda: None, CPU) == 3
    assert peak_bytes(lambda: None, CPU) == 9


def test_no_round_starts_after_the_budget() -> None:
    calls = {"slow": lambda: time.sleep(0.01)}
    assert len(interleaved(calls, CPU, rounds=50, least=2, budget=0.0)["slow"].rounds) == 2
    assert len(interleaved(calls, CPU, rounds=1, least=2, budget=60)["slow"].rounds) == 1


def test_ratios_are_computed_within_rounds() -> None:
    slow, fast = Timing([[4.0], [40.0], [4.0]]), Timing([[1.0, 3.0], [20.0], [1.0]])
    found = ratio(slow, fast)
    assert (found.lowest, found.highest) == (2.0, 4.0)
    assert found.ratio == 4.0 / 2.0


def test_a_record_of_another_benchmark_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"benchmark": "step", "schema": 1}')
    assert benchmarking.read(path, "step")["schema"] == 1
    with pytest.raises(ValueError, match="no record of benchmark 'ko'"):
        benchmarking.read(path, "ko")


@pytest.mark.slow
def test_record_of_parallel_seeds(tmp_path: Path) -> None:
    record = run("benchmark_replicas", tmp_path, "--only", "two layers", "--replicas", "3")
    [case] = record["cases"]
    assert case["times_as_fast"] == pytest.approx(3 * case["alone"]["median_s"] / case["together"]["median_s"])
    assert record["marks"][0]["state"] in {"reached", "not reached"}


@pytest.mark.slow
def test_record_of_the_cost_of_monitoring_neurons(tmp_path: Path) -> None:
    record = run("benchmark_callbacks", tmp_path, "--only", "Burgers")
    [case] = record["cases"]
    assert case["percent"] == pytest.approx(100 * case["callback"]["median_s"] / case["epoch"]["median_s"])
    assert case["steps_an_epoch"] > 0
    assert record["marks"][0]["state"] in {"reached", "not reached"}


@pytest.mark.slow
def test_record_of_thread_pools(tmp_path: Path) -> None:
    record = run("benchmark_threads", tmp_path, "--only", "fno1d, 8")
    [case] = record["cases"]
    assert [row["threads"] for row in case["rows"]] == ["torch's", "a pool's", "numba's", "one alone"]
    assert case["rows"][0]["longer"] == 0


@pytest.mark.slow
def test_seam_record(tmp_path: Path) -> None:
    record = run("benchmark_seam", tmp_path, "--only", "bert")
    train, eval_ = record["cases"]
    assert [row["variant"] for row in train["rows"]] == ["classes replaced", "hooks"]
    assert [row["variant"] for row in eval_["rows"]] == ["stock", "hooks"]
    assert train["seams"] > 0


def test_the_interval_of_a_paired_ratio() -> None:
    slow = [1.0, 4.0, 2.0, 8.0, 1.0, 5.0, 3.0, 2.0]  # the machine, round by round
    noise = [1.02, 1.00, 1.03, 0.99, 1.04, 1.01, 1.02, 1.02]
    first = measuring.Timing([[second] for second in slow])
    other = measuring.Timing([[second * by] for second, by in zip(slow, noise, strict=True)])
    found = measuring.paired_ratio(other, first)
    assert found.ratio == pytest.approx(1.02)
    assert (found.lowest, found.highest) == (pytest.approx(0.99), pytest.approx(1.04))
    assert isnan(measuring.paired_ratio(measuring.Timing([[1.0]]), measuring.Timing([[1.0]])).lowest)
