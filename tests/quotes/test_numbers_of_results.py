"""README.md and docs/results.md: each result is that of a committed record; the other numbers are listed."""

import csv
import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from quoted_pages import ROOT, WORDS, cosine, effect, evidence, line, lines, missing, percent, uncovered

from kiti.report.claims.evidence import OutputLine

PAGE, README = "docs/results.md", "README.md"
PROBLEMS = {
    "Burgers, FNO": ("Burgers", "KITI-FNO", "FNO", "test/relative_l2"),
    "Navier-Stokes, FNO": ("Navier-Stokes", "KITI-FNO", "FNO", "test/relative_l2"),
    "Heat, FNO": ("Heat", "KITI-FNO", "FNO", "test/relative_l2"),
    "Airfoil (stand-in), OFormer": ("Airfoil", "KITI-OFormer", "OFormer", "test/momentum_rmse_box"),
}
TABLE4, TABLE3, TABLE1, TABLE2 = (
    "kitinet/table4.laptop",
    "kitinet/table3.laptop",
    "ko/table1.laptop",
    "ko/table2.laptop",
)
DESIGN = [
    "with its 95 % interval",
    "4,096 pictures, 384 steps",
    "a hundred classes",
    "10 classes at 32 x 32",
    "4,096 pictures, 5 epochs and narrowed networks, 5 paired seeds",
    "trained for 500 steps instead of 50,000",
    "0.7 for hard",
    "Table 1",
    "without AVX2",
    "at viscosity .1",
    "their 130 runs",
    "one H200 with torch 2.11 and Triton 3.6, in six minutes instead of the eight that",
    "the marks of 100 and 20 times",
    "the target is 5 %",
    "All 65 tests of the kernels pass",
    "worse than vanilla from 0.6 on",
    "At 0.6 one particle of 32",
    "(relative L2;",
    "ResNet-34 to 152, best epoch",
    "has p below .05 against SGD",
    "none with p below .05",
    "the pixels of 2,000 training pictures",
    "Qwen2-0.5B's",
    "ResNet-18 to 50",
    "target is 0.98",
    "systems of 2 to 8 particles",
    "a step of 4 x 1,024 tokens",
    "at batch 32",
    "25 interleaved rounds",
]
IN_README = [
    "takes three to eight minutes (5 GB: PyTorch brings CUDA along), and the 20 runs of `m` take seven",
    "about 55 GB",
    "with its 95 % interval",
    "Lightning and FSDP2",
    "0 finished, 1 failed, 2 bad input, 3 diverged, 4 run by another process, 75 stopped",
    "a residual kind in 13 lines",
    "Algorithm 1 as functions",
]


def primary(problem: str) -> OutputLine:
    group, row, against, metric = PROBLEMS[problem]
    return line(TABLE4, group, row, metric, against)


def printed(problem: str) -> str:
    return percent(primary(problem).number("printed_effect"))


def row_of(problem: str) -> str:
    one = primary(problem)
    return f"| {problem} | {printed(problem)} | {effect(one)}, {one.verdict} |"


def sees() -> str:
    """The smallest and largest difference that Table 4's primary comparisons could have seen."""
    found = [100 * primary(problem).number("smallest_effect") for problem in PROBLEMS]
    return f"{min(found):.0f} to {max(found):.0f} %"


def readme() -> list[str]:
    together = [one["times_as_fast"] for one in benchmark("replicas.cpu")]
    return [
        *map(row_of, PROBLEMS),
        f"could have seen differences of {sees()}",
        f"{min(together):.0f} to {max(together):.0f} times as many seeds a second",
    ]


def table_of_pdes() -> list[str]:
    found = []
    for problem, (group, _, against, metric) in PROBLEMS.items():
        controls = [effect(line(TABLE4, group, row, metric, against)) for row in ("dropout", "noise")]
        found.append(f"{row_of(problem)[:-1]}| {controls[0]} | {controls[1]} |")
    for problem in PROBLEMS:  # what the text says of the printed gains
        _, low, high = primary(problem).effect()
        inside = low <= primary(problem).number("printed_effect") <= high
        assert inside == (problem not in ("Navier-Stokes, FNO", "Heat, FNO"))
    against_controls = [
        one
        for one in lines(TABLE4, row=["KITI-FNO", "KITI-OFormer"], baseline=["dropout", "noise"])
        if one.key != "test/mse"
    ]
    assert all(one.number("p") > 0.05 for one in against_controls)
    far = line(TABLE4, "Airfoil", "OFormer", "test/momentum_rmse_box", "last frame repeated")
    higher = primary("Navier-Stokes, FNO")
    assert higher.number("difference") > 0
    assert {primary(problem).verdict for problem in PROBLEMS} == {"not learnt"}
    return [
        *found,
        f"Five seeds could have seen {sees()} with 80 % power",
        f"p of Navier-Stokes, where KITINet's error is higher, is {cosine(higher.number('p'))}, uncorrected",
        f"{1 + far.number('relative'):.1f} times as far off",
    ]


def without_networks() -> list[str]:
    """What predictors without a network reach on the same data, from experiments/trivial/laptop.jsonl."""
    text = (ROOT / "experiments/trivial/laptop.jsonl").read_text()
    best = {one["experiment"]: one["metrics"] for one in map(json.loads, text.splitlines())}
    paper = {
        group: line("kitinet/table4.paper", group, "without a network", f"trivial/{name}_relative_l2").number("mean")
        for group, name in (("Burgers", "moving_ridge"), ("Heat", "ridge"))
    }
    text = (ROOT / "experiments/trivial/paper.jsonl").read_text()
    ridge = {
        one["experiment"]: one["metrics"]["trivial/ridge_relative_l2"] for one in map(json.loads, text.splitlines())
    }

    def printed_by(group: str, row: str) -> str:
        return lines("kitinet/table4.paper", problem=group, row=row, metric="test/relative_l2")[0].cells["published"][
            1:
        ]

    def error(experiment: str, name: str, digits: int = 3) -> str:
        return cosine(best[experiment][f"trivial/{name}_relative_l2"], digits)

    def fno(group: str) -> str:
        return cosine(line(TABLE4, group, "FNO", "test/relative_l2").number("mean"))

    return [
        f"Burgers: FNO {fno('Burgers')}, ridge regression {error('burgers', 'ridge')}, in the frame that moves with the "
        f"mean {error('burgers', 'moving_ridge', 4)}",
        f"Navier-Stokes: FNO {fno('Navier-Stokes')}, the last frame with the laminar response "
        f"{error('navier_stokes', 'laminar')}, ridge regression {error('navier_stokes', 'ridge', 4)}",
        f"for heat ridge regression on 1,000 samples has an error of {paper['Heat']:.1e}, where FNO prints "
        f"{printed_by('Heat', 'FNO')} and KITI-FNO {printed_by('Heat', 'KITI-FNO')}",
        f"for Burgers it has {cosine(ridge['burgers'], 4)}, and {cosine(paper['Burgers'], 5)} in the moving frame, where "
        f"{printed_by('Burgers', 'FNO')} and {printed_by('Burgers', 'KITI-FNO')} are printed",
        f"Heat: FNO {fno('Heat')}, the last frame repeated {error('heat', 'persistence')}, extrapolated "
        f"{error('heat', 'extrapolation')}, ridge regression {error('heat', 'ridge', 4)}",
    ]


def rounding() -> list[str]:
    """From the replicate's own file, and from the note of Table 4, which a test of the tables writes again."""
    path = ROOT / "experiments/kitinet/outputs/table4.laptop.replicates.csv"
    found = [OutputLine(one) for one in csv.DictReader(path.open(newline=""))]
    (ours,) = (one for one in found if one.is_primary and one.was_run and one.key == "test/relative_l2")
    runs = [one for one in found if one.key == "test/relative_l2" and one.was_run and one.row != "without a network"]
    assert sum(one.n for one in runs if not one.baseline or one.is_primary) == 10
    page = (ROOT / "experiments/kitinet/outputs/table4.laptop.md").read_text()
    (apart,) = re.findall(r"here and there, (differ by .*?)\.$", page, re.MULTILINE)
    return [f"give {effect(ours)}", f"with the same seed single runs {apart}"]


def updates() -> list[str]:
    def non_update(group: str) -> OutputLine:
        return line("kitinet/table6.laptop", group, "non-update", "test/relative_l2", "FNO (vanilla)")

    found = lines("kitinet/table6.laptop", primary="yes")
    assert {one.verdict for one in found} == {"not learnt"}
    assert all(one.number("p") > 0.05 for one in found)
    burgers, heat, ns = (cosine(non_update(group).number("p")) for group in ("Burgers", "Heat", "Navier-Stokes"))
    assert non_update("Burgers").number("difference") < 0 < non_update("Navier-Stokes").number("difference")
    assert non_update("Heat").number("difference") < 0
    return [f"better than vanilla on Burgers (p {burgers}) and heat (p {heat}) and worse on Navier-Stokes (p {ns})"]


def sweeps() -> list[str]:
    metric, found = "test/relative_l2", {}
    for table, group in (("kitinet/figure2b.laptop", "Heat"), ("kitinet/figure6.laptop", "Navier-Stokes")):
        points = [one for one in lines(table, problem=group, metric=metric) if one.baseline]
        assert [one.row for one in points if one.number("p") < 0.05] == ["0.6", "0.7", "0.8", "0.9"]
        means = [one.number("mean") for one in points]
        climbs = [one.row for (before, after), one in zip(pairwise(means), points[1:], strict=True) if after > before]
        found[group] = climbs[0]
    assert found == {"Heat": "0.4", "Navier-Stokes": "0.2"}
    at = [
        line(table, group, "0.6", metric, "FNO (vanilla)")
        for table, group in (("kitinet/figure2b.laptop", "Heat"), ("kitinet/figure6.laptop", "Navier-Stokes"))
    ]
    ratios, partners = [], []
    for one in at:
        modules = [record.collisions or {} for record in evidence("kitinet").records(one).values()]
        means = {name: [found[name] for found in modules] for name in modules[0]}
        ratios.append(max(sum(one["energy_ratio"] for one in of) / len(of) for of in means.values()))
        partners.append(sum(one["partners"] for of in means.values() for one in of) / sum(map(len, means.values())))
    heads = [one for one in lines("kitinet/figure2a.laptop", metric=metric) if one.baseline and one.was_run]
    assert all(one.number("p") > 0.05 for one in heads)
    assert heads[-1].number("difference") == 0
    return [
        "means climb from 0.4 or 0.2 on",
        f"has {partners[0]:.1f} and {partners[1]:.1f} partners",
        f"multiplies the kinetic energy by {ratios[0]:.0f} and {ratios[1]:.0f}",
    ]


def condensation_of_fno() -> list[str]:
    found = lines("kitinet/table7.laptop", row="KITI-FNO")
    assert {one.verdict for one in found} == {"undecided", "equivalent"}
    (conv1,) = lines("kitinet/section5_7_conv1.laptop", row="KITINet-18", metric="rho/conv1")
    middle, low, high = conv1.effect()
    change = {
        one.key: one.number("printed_effect") / (float(one.cells["published"]) - one.number("printed_effect"))
        for one in found
    }
    return [
        f"the paper prints {100 * change['rho/layers.1.conv']:+.0f} % for one and {100 * change['rho/layers.0.conv']:.0f} % for another",
        f"no difference, {middle:+.3f} [{low:+.3f}, {high:+.3f}]",
        "where the paper prints +0.013",
    ]


def pictures() -> list[str]:
    def accuracies(classes: int) -> list[float]:
        tables = ((TABLE3, "ResNet"), (TABLE1, "SGD"))
        return [
            one.number("mean")
            for table, row in tables
            for one in lines(table, row=row, metric="test/accuracy")
            if f"CIFAR-{classes}," in one.group
        ]

    def without(classes: int) -> float:
        rows = lines(TABLE3, row="without a network") + lines(TABLE1, row="without a network")
        (score,) = {one.number("mean") for one in rows if f"CIFAR-{classes}," in one.group}
        return score

    ten, hundred = accuracies(10), accuracies(100)
    assert max(ten) < without(10)
    best = "test/best_accuracy"
    ours = lines(TABLE3, row="KITI-ResNet", baseline="ResNet", metric=best)
    assert {one.verdict for one in ours} == {"not learnt"}
    means = [one.number("mean") - one.number("baseline_level") for one in ours]
    gains = [one.number("printed_effect") for one in ours]
    inside = [low <= gain <= high for gain, (_, low, high) in zip(gains, (one.effect() for one in ours), strict=True)]
    assert all(one.number("p") > 0.05 for one in ours)
    (worse,) = (
        one for one in lines(TABLE3, row="Dit-ResNet", baseline="ResNet", metric=best) if one.number("p") < 0.05
    )
    above = [
        one for one in lines(TABLE3, row="KITI-ResNet", baseline="Dit-ResNet", metric=best) if one.number("p") < 0.05
    ]
    assert worse.group == "CIFAR-100, ResNet-34"
    there, ten_classes = sorted(above, key=lambda one: one.group, reverse=True)
    assert (there.group, ten_classes.group) == (worse.group, "CIFAR-10, ResNet-50")
    return [
        f"{min(ten):.0f} to {max(ten):.0f} % of ten classes, {min(hundred):.0f} to {max(hundred):.0f} % of a hundred",
        f"scores {without(10):.1f} and {without(100):.1f} %",
        f"means {min(means):+.1f} to {max(means):+.1f} points from the ResNet in {WORDS[len(ours)]} rows",
        f"{min(gains):.1f} to {max(gains):.1f} points, lie inside {WORDS[sum(inside)]} of the {WORDS[len(ours)]} intervals",
        f"on a hundred classes ({worse.number('difference'):.1f} points, p {cosine(worse.number('p'))})",
        f"than Dit there (p {cosine(there.number('p'))}) and at ResNet-50 on ten classes (p {cosine(ten_classes.number('p'))})",
    ]


def gradients() -> list[str]:
    found = {
        (one.row, one.group): one for row in ("soft", "hard") for one in lines(TABLE1, row=row, metric="test/accuracy")
    }
    soft = [one for (row, _), one in found.items() if row == "soft" and one.number("p") < 0.05]
    (gain,) = soft
    assert gain.group == "CIFAR-10, ResNet-18"
    assert gain.verdict == "not learnt"
    hard = {group: one for (row, group), one in found.items() if row == "hard"}
    assert {group for group, one in hard.items() if one.verdict == "worse"} == {
        "CIFAR-100, ResNet-18",
        "CIFAR-100, ResNet-50",
    }
    small, middle, large = (hard[f"CIFAR-100, ResNet-{depth}"] for depth in (18, 34, 50))

    def changes(classes: int) -> str:
        of = [100 * one.number("gradient_change") for group, one in hard.items() if f"CIFAR-{classes}," in group]
        return f"{min(of):.0f} to {max(of):.0f} %"

    return [
        f"ResNet-18 on ten classes ({gain.number('difference'):+.2f} points, p {cosine(gain.number('p'))})",
        f"worse, by {-small.number('difference'):.0f} and {-large.number('difference'):.0f} points (ResNet-34: by "
        f"{-middle.number('difference'):.0f}, p {cosine(middle.number('p'))})",
        f"gradient by {changes(100)} of its size there, and by {changes(10)} with ten neurons",
    ]


def imagenet() -> list[str]:
    metric, networks = "test/accuracy", ("ResNet-50", "ConvNeXt-T", "ConvNeXt-S")

    def of(row: str) -> list[OutputLine]:
        return [one for name in networks for one in lines(TABLE2, problem=name, row=row, metric=metric)]

    def interval(one: OutputLine) -> str:
        middle, low, high = one.effect()
        return f"{middle + 0.0:+.1f} points in {one.group} [{low:+.1f}, {high:+.1f}]"

    soft, hard = of("soft"), of("hard")
    assert {one.verdict for one in (*soft, *hard)} == {"not learnt"}
    (score,) = {
        one.number("mean")
        for one in lines(TABLE2, row="without a network", metric="trivial/logistic_regression_accuracy")
    }
    losses = [f"{one.number('difference'):.0f}" for one in hard]
    gains = [one.number("printed_effect") for one in soft]
    levels = [one.number("baseline_level") for one in soft]
    return [
        *map(interval, soft),
        f"where KO prints gains of {min(gains):.1f} to {max(gains):.1f} points",
        f"hard ones by {losses[0]}, {losses[1]} and {losses[2]} points",
        f"score {levels[0]:.1f}, {levels[1]:.1f} and {levels[2]:.1f} %, where guessing scores 10 and logistic regression {score:.1f}",
    ]


def benchmark(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = evidence("kitinet").json(f"benchmarks/{name}.json")["cases"]
    return found


def longer(name: str, case: str, variant: str) -> tuple[float, float, float]:
    (found,) = (one for one in benchmark(name) if one["case"] == case)
    (row,) = (one for one in found.get("variants") or found["rows"] if one["variant"] == variant)
    return 100 * row["longer"], 100 * row["longer_lowest"], 100 * row["longer_highest"]


def cost_on_a_gpu() -> list[str]:
    cases = [one["implementations"] for one in benchmark("collision.cuda")]
    faster = [one["triton"]["times_faster"] for one in cases if "triton" in one]
    memory = [one["literal"]["peak_bytes"] / one["triton"]["peak_bytes"] for one in cases if "triton" in one]
    gpt2 = next(one["variant"] for one in benchmark("step.gpt2.cuda")[0]["variants"] if one["residual"] == "kiti")
    middle, low, high = longer("step.gpt2.cuda", "gpt2", gpt2)
    bert = next(one["variant"] for one in benchmark("step.bert-base.cuda")[0]["variants"] if one["residual"] == "kiti")
    b, b_low, b_high = longer("step.bert-base.cuda", "bert-base", bert)
    return [
        f"On {len(cases)} cases of the papers' shapes the kernels are {min(faster):.1f} to {max(faster):.0f} times as fast as "
        f"the literal form, at most 1/{min(memory):.0f} of its memory",
        f"{middle:.0f} % longer [{low:.0f}, {high:.0f}]",
        f"{b:.0f} % longer [{b_low:.0f}, {b_high:.0f}] on a noisy machine",
    ]


def cost_on_a_cpu() -> list[str]:
    of_step = {
        one["case"]: {row["variant"]: 100 * row["longer"] for row in one["variants"]} for one in benchmark("step.cpu")
    }
    small = [
        value
        for case in ("resnet18", "resnet50", "gpt2", "bert-base")
        for name, value in of_step[case].items()
        if name.startswith("kiti")
    ]
    fno = {
        name: value for name, value in of_step["fno1d"].items() if name.startswith("kiti") and not name.endswith("1024")
    }
    assert max(fno, key=lambda name: fno[name]) == "kiti heads=1"
    hooks = {
        case: longer("seam.cpu", case, "hooks")
        for case in (
            "resnet50, train",
            "gpt2, train",
            "bert-base, train",
            "resnet50, eval",
            "gpt2, eval",
            "bert-base, eval",
        )
    }
    assert all(low < 1 for _, low, _ in hooks.values())
    bert, low, high = hooks["bert-base, train"]
    assert all(one[1] < 0 < one[2] for case, one in hooks.items() if case != "bert-base, train")
    qwen = {row["variant"]: row for row in benchmark("step.qwen2.cpu")[0]["variants"]}
    extra = [qwen[name]["median_s"] - qwen["add"]["median_s"] for name in ("soft", "hard")]
    (loops,) = benchmark("loops.cpu")
    bare = {row["loop"]: 100 * row["longer"] for row in loops["loops"]}
    epoch = next(one for one in benchmark("texts.cpu") if one["case"] == "epoch")
    steps = next(one for one in benchmark("texts.cpu") if one["case"] == "steps")
    padding = {row["loop"]: 100 * row["padding"] for row in epoch["loops"]}
    ko = {
        name: [
            100 * row["longer"] for one in benchmark("ko_cost.cpu") for row in one["variants"] if row["variant"] == name
        ]
        for name in ("soft", "hard")
    }
    printed = {
        name: [
            100 * (float(one[name][0]) / float(one["none"][0]) - 1)
            for of in evidence("ko").printed("cost").values()
            for one in of.values()
        ]
        for name in ("soft", "hard")
    }
    forms = [one for one in benchmark("collision.cpu") if one["auto"] != "literal"]
    times = [
        (one["implementations"]["literal"]["partners"], one["implementations"][one["auto"]]["times_faster"])
        for one in forms
    ]
    solver = [one["times_faster"] for one in benchmark("navier_stokes.cpu")]
    return [
        f"is {max(0, min(small)):.0f} to {max(small):.0f} % longer for ResNet, GPT-2 and BERT",
        f"{min(fno.values()):.0f} % to {max(fno.values()):.0f} % (one head) longer for FNO",
        f"{bert:.1f} % longer [{low:.1f}, {high:.1f}]",
        f"{100 * qwen['soft']['longer']:.0f} % (soft) and {100 * qwen['hard']['longer']:.0f} % (hard) longer: some "
        f"{extra[0]:.0f} and {extra[1]:.0f} seconds",
        f"in a plain PyTorch one ({bare['kiti']:+.1f} %) and in that of timm's train.py "
        f"({100 * (loops['kiti']['over_timm'] - 1):+.0f} %)",
        f"is {epoch['faster']:.1f} times as fast as in transformers' Trainer [{epoch['lowest']:.1f}, {epoch['highest']:.1f}]",
        f"have {padding['kiti']:.0f} % padding instead of {padding['Trainer']:.0f} %",
        f"a step is {steps['faster']:.2f} times as fast [{steps['lowest']:.2f}, {steps['highest']:.2f}]",
        f"take {min(ko['soft']):+.0f} to {max(ko['soft']):+.0f} % longer with soft and {min(ko['hard']):+.0f} to "
        f"{max(ko['hard']):+.0f} % with hard collisions",
        f"the paper prints {min(printed['soft']):.0f} to {max(printed['soft']):.0f} % and {min(printed['hard']):.0f} to "
        f"{max(printed['hard']):.0f} %",
        f"is at least {min(x for partners, x in times if partners <= 1):.0f} times as fast as the paper's formula written out where "
        f"few pairs collide, and {min(x for partners, x in times if 15 <= partners <= 60):.0f} times where thirty do",
        f"is {min(solver):.0f} to {max(solver):.0f} times as fast as the FNO authors' scheme",
    ]


PASSAGES = (
    table_of_pdes,
    without_networks,
    rounding,
    updates,
    sweeps,
    condensation_of_fno,
    pictures,
    gradients,
    imagenet,
    cost_on_a_gpu,
    cost_on_a_cpu,
)
PRINTED: list[str] = []


@pytest.mark.parametrize("passages", PASSAGES)
def test_numbers_are_those_of_the_records(passages: Callable[[], list[str]]) -> None:
    assert missing(PAGE, passages()) == []


def test_every_number_of_the_results_is_covered() -> None:
    assert missing(PAGE, [*DESIGN, *PRINTED]) == []
    assert uncovered(PAGE, [*DESIGN, *PRINTED, *(one for passages in PASSAGES for one in passages())]) == []


def test_the_readme_has_the_same_results() -> None:
    assert missing(README, [*readme(), *IN_README]) == []
    assert uncovered(README, [*readme(), *IN_README]) == []
