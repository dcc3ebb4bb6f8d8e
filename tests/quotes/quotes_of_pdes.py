"""What docs/results.md quotes of partial differential equations, from committed outputs and records."""

import csv
import json
import re
from itertools import pairwise

from quoted_pages import ROOT, cosine, effect, evidence, line, lines, percent

from kiti.report.claims.evidence import OutputLine

TABLE4 = "kitinet/table4.laptop"
PROBLEMS = {
    "Burgers, FNO": ("Burgers", "KITI-FNO", "FNO", "test/relative_l2"),
    "Navier-Stokes, FNO": ("Navier-Stokes", "KITI-FNO", "FNO", "test/relative_l2"),
    "Heat, FNO": ("Heat", "KITI-FNO", "FNO", "test/relative_l2"),
    "Airfoil (stand-in), OFormer": ("Airfoil", "KITI-OFormer", "OFormer", "test/momentum_rmse_box"),
}


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
        f"where the paper prints {conv1.number('printed_effect'):+.3f}",
    ]


PASSAGES = (table_of_pdes, without_networks, rounding, updates, sweeps, condensation_of_fno)
