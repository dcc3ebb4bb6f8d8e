"""docs/findings.md: each number is that of a committed record, or of the study's design."""

from collections.abc import Callable

import numpy as np
import pytest
from quoted_pages import WORDS, cosine, cosines, evidence, line, lines, missing, percent, uncovered

from kiti.report.claims.evidence import OutputLine

PAGE = "docs/findings.md"
DESIGN = [
    "80 points of Σ 3.5 sin(5x_k + 1), 100 epochs, 50 neurons per layer",
    "Intervals are 95 % t intervals over 20 paired seeds (100 for the losses)",
    "particles of 5 features",
    "soft collisions have 0.01, half of 1/N; hard ones 0.7",
    "layers 1024-1024-10",
    "320 steps instead of 7,820 at 24 times the learning rate",
    "the 1,024 neurons of the first layer",
    "a hundred classes for CIFAR-100, 384 steps",
    "t = 1/η² for η",
    "m η^1.5 / 2 < 2",
    "with η = 0.1 and 200 neurons",
    "at coll_coef 0.7",
    "(coll_coef 1)",
    "below coll_coef 1/N, stand still at 1/N",
    "the bound of (19)",
    "formula (11)",
    "by -½",
    "both are 0",
    "N(0, m⁻⁴)",
    "particles of 8 points, first ten epochs",
    "ResNet-18, -34 and -50",
    "t = 1/η²",
    "E[θ(t)] = E[θ(0)]",
    "over 100 seeds",
    "makes the mean free path 1 in the units",
    "valid kinetic regime",
]
PRINTED = ['"Reductions of 6.8 %, 7.5 %, and 4.5 %"', '"Kn ≈ 0.30, well within the valid kinetic regime" (2.1)']
FIGURE7, FIGURE2 = "kitinet/figure7.paper", "ko/figure2.paper"


def test_designs_are_those_of_the_records() -> None:
    assert {one.cells["paired_n"] for one in lines(FIGURE7, row="KITINet")} == {"20"}
    assert {one.cells["paired_n"] for one in lines("kitinet/section5_7.paper", row="KITINet")} == {"100"}
    (record,) = (
        one for seed, one in evidence("ko").records(lines("ko/figure4.laptop", row="hard")[0]).items() if seed == 0
    )
    assert record.config["collision"]["coll_coef"] == 0.7


def condensed_layers() -> list[str]:
    collided, first = "rho/layers.1@100", "rho/layers.0@100"
    rows = {against: line(FIGURE7, "LeakyReLU", "KITINet", collided, against) for against in ("plain", "shortcut")}
    ours = rows["plain"].number("mean")
    plain, shortcut = (one.number("baseline_level") for one in rows.values())
    relu = line(FIGURE7, "ReLU", "KITINet", first, "shortcut")
    primary = lines(FIGURE7, primary="yes")
    assert {one.cells["metric"] for one in primary} == {first}
    assert [one.verdict for one in primary] == ["undecided", "undecided", "equivalent", "equivalent"]
    return [
        f"ρ {cosine(ours)} against {cosine(plain)} without shortcut ({cosines(rows['plain'])}, p "
        f"{cosine(rows['plain'].number('p'))}) and {cosine(shortcut)} with one ({cosines(rows['shortcut'])})",
        f"the first layer's ρ is higher ({cosines(relu)})",
        f"the first layer's is a little lower than without shortcut "
        f"({cosines(line(FIGURE7, 'Tanh', 'KITINet', first, 'plain'))})",
        f"the second's by {cosines(line(FIGURE7, 'Tanh', 'KITINet', collided, 'plain'))}",
    ]


def faster() -> list[str]:
    """Of 32 differences from the network without collisions, and 8 between one layer and two."""
    figures = {
        "figure3b": ("last layer", "last two layers"),
        "figure9": ("last layer",),
        "figure10": ("last two layers",),
    }
    found = [one for name, rows in figures.items() for one in lines(f"kitinet/{name}.paper", row=rows) if one.baseline]
    from_none = [one for one in found if one.baseline == "without"]
    passing = [one for one in from_none if one.number("p") < 0.05]
    assert {one.row for one in passing} == {"last two layers"}
    assert {one.verdict for one in found if one.is_primary} == {"equivalent"}
    assert {one.key for one in found if one.is_primary} == {"rho/layers.4@1"}
    relu = {one.key: one for one in passing if one.group == "ReLU" and one.key.startswith("rho/layers.4")}
    middle, end = relu["rho/layers.4@50"], relu["rho/layers.4@100"]
    of_two = [one for one in found if one.baseline == "last layer" and one.key.startswith("rho/layers.4")]
    early, late = (one for one in of_two if one.number("p") < 0.05)
    assert (early.key, late.key) == ("rho/layers.4@10", "rho/layers.4@100")
    assert cosine(early.number("difference")) == cosine(late.number("difference"))
    assert all(one.number("difference") < 0.05 for one in (middle, end, early, late))
    start = line("kitinet/figure3b.paper", "LeakyReLU", "without", "rho/layers.4@1").number("mean")
    return [
        f"ρ is {cosine(start, 2)} after the first epoch",
        f"higher than without by {cosine(middle.number('difference'))} at epoch 50 and by "
        f"{cosine(end.number('difference'))} at epoch 100 (p {cosine(middle.number('p'))} and {cosine(end.number('p'))})",
        f"{WORDS[len(passing)].capitalize()} differences of {len(from_none)} from the network without pass p < .05",
        f"ρ is higher by {cosine(early.number('difference'))} at epochs 10 and 100 "
        f"(p {cosine(early.number('p'))} and {cosine(late.number('p'))})",
        "within the margin of .05",
    ]


def losses() -> list[str]:
    table, metric = "kitinet/section5_7.paper", "test/mse"
    names = ("ReLU", "LeakyReLU", "Sigmoid", "Tanh")
    plain = {name: line(table, name, "KITINet", metric, "plain") for name in names}
    shortcut = [line(table, name, "KITINet", metric, "shortcut").number("relative") for name in names]
    every = [one.number("mean") for one in lines(table, metric=metric)]
    assert {one.verdict for one in plain.values()} == {"equivalent"}
    assert all(
        one.number("difference") > 0 for one in lines(table, metric="train/mse", row="KITINet", baseline="shortcut")
    )
    changes = ", ".join(f"{percent(plain[name].number('relative'))} ({name})" for name in names[:3])
    return [
        f"the test loss changes by {changes} and {percent(plain['Tanh'].number('relative'))} (Tanh)",
        f"better by {-100 * max(shortcut):.1f} to {-100 * min(shortcut):.1f} %",
        f"from {min(every):.1f} to {max(every):.1f}",
        f"the variance of the target over its box is {variance_of_the_target():.1f}",
    ]


def variance_of_the_target() -> float:
    """Of the sum of five 3.5 sin(5 x_k + 1), x_k uniform on [-4, 2]."""
    x = np.linspace(-4, 2, 2_000_001)
    return float(5 * np.var(3.5 * np.sin(5 * x + 1)))


def knudsen() -> list[str]:
    small = lines("kitinet/knudsen.paper", problem="three layers")
    first = [
        one.number("mean")
        for one in lines("kitinet/knudsen.paper")
        if one.key.startswith("knudsen") and one.key.endswith("@1")
    ]
    last = {one.row: one.number("mean") for one in small if one.key == "knudsen/residuals.0@100"}
    six = line("kitinet/knudsen.paper", "six layers", "ReLU, last", "knudsen/residuals.3@100").number("mean")
    others = [value for name, value in last.items() if name != "Sigmoid"]

    def fno(layer: int, epoch: int) -> float:
        key = f"knudsen/layers.{layer}.residual@{epoch}"
        return line("kitinet/knudsen_fno.paper", "Burgers", f"Fourier layer {layer}", key).number("mean")

    return [
        f"Kn is {10_000 * int(min(first) / 10_000):,} or more",
        f"falls to {min(others):.1f} to {max(others):.1f} by epoch 100 in the three-layer networks ({last['Sigmoid']:.0f} with Sigmoid, "
        f"means over seeds) and to {six:.2f} in the six-layer one",
        f"from {fno(0, 1):.1f} to {fno(0, 10):.1f} in the first, from {fno(3, 1):.0f} to {fno(3, 10):.0f} in the fourth",
    ]


def hindered() -> list[str]:
    rho = "rho/layers.0@100"
    verdicts = {
        row: {one.group: one.verdict for one in lines(FIGURE2, row=row, metric=rho)} for row in ("hard", "soft")
    }
    lower = {row: [name for name, verdict in found.items() if verdict == "lower"] for row, found in verdicts.items()}
    assert lower == {"hard": ["tanh", "sigmoid", "softplus"], "soft": ["softplus"]}

    def of(name: str, row: str) -> OutputLine:
        return line(FIGURE2, name, row, rho, "Adam")

    hard = [
        f"{name} ({cosine(of(name, 'hard').number('mean'), 2)} against {cosine(of(name, 'hard').number('baseline_level'), 2)})"
        for name in lower["hard"]
    ]
    losses = [one.number("relative") for one in lines(FIGURE2, row="hard", metric="test/mse")]
    assert all(one.number("p") < 0.05 for one in lines(FIGURE2, row="hard", metric="test/mse"))
    others = [of(name, "hard").number("baseline_level") for name in ("ReLU", "x tanh", "x² tanh")]
    assert [round(other, 2) for other in others] == [0.56, 0.56, 0.59]
    return [
        f"in {WORDS[len(lower['hard'])]} activations of {WORDS[len(verdicts['hard'])]} for hard, in {WORDS[len(lower['soft'])]} for soft",
        f"Hard collisions lower ρ with {hard[0]}, {hard[1]} and {hard[2]}",
        f"with softplus ({cosines(of('softplus', 'soft'))})",
        f"with sigmoid ({cosines(of('sigmoid', 'soft'))}) the change is within the margin of {cosine(of('sigmoid', 'soft').number('margin'), 2)}",
        f"where ρ stays between {cosine(min(others), 2)} and {cosine(max(others), 2)}",
        f"is lower in all {WORDS[len(losses)]}, by {-100 * max(losses):.1f} to {-100 * min(losses):.1f} %",
    ]


def slowed_down() -> list[str]:
    def of(name: str, row: str, metric: str) -> OutputLine:
        return line("ko/figure4.laptop", name, row, metric, "" if row == "Adam" else "Adam")

    rho, groups, accuracy = "rho/fc.0@20", "clusters/fc.0@20", "test/accuracy"
    adam = [of(name, "Adam", rho).number("mean") for name in ("tanh", "x tanh")]
    in_groups = {round(of(name, "Adam", groups).number("mean")) for name in ("tanh", "x tanh")}
    assert {one.verdict for one in lines("ko/figure4.laptop", metric=rho) if one.baseline} == {
        "equivalent",
        "undecided",
    }
    assert len(in_groups) == 1
    hard, soft = of("tanh", "hard", rho), of("x tanh", "soft", groups)
    learnt = of("x tanh", "hard", accuracy)
    return [
        f"in {in_groups.pop()} groups (ρ {cosine(adam[0], 2)} with tanh, {cosine(adam[1], 2)} with x tanh)",
        f"break them up (ρ {cosine(hard.number('mean'), 2)}, {of('tanh', 'hard', groups).number('mean'):.0f} groups; p "
        f"{cosine(hard.number('p'))}, corrected for four comparisons {cosine(hard.number('p_corrected'), 2)}, so undecided)",
        f"soft leaves fewer groups ({soft.number('mean'):.0f}, p {cosine(soft.number('p'))})",
        f"{learnt.number('mean'):.1f} % of test images classified correctly instead of {learnt.number('baseline_level'):.1f} with x tanh "
        f"(p {cosine(learnt.number('p'))})",
    ]


def kept_apart() -> list[str]:
    alike = {
        row: [
            line("ko/figure3.laptop", f"ResNet-{depth}", row, "most_alike/fc@6").number("mean")
            for depth in (18, 34, 50)
        ]
        for row in ("SGD", "soft", "hard")
    }
    texts = {row: f"{cosine(a, 2)}, {cosine(b, 2)} and {cosine(c, 2)}" for row, (a, b, c) in alike.items()}
    return [
        f"have |cos| {texts['SGD']} with SGD, {texts['soft']} with soft collisions and {texts['hard']} with hard ones"
    ]


def theory() -> list[str]:
    laboratory = evidence("ko").json("theory/lab.json")
    norms = {(one["eta"], one["m"]): one for one in laboratory["equilibrium"]}
    shares = [one["shares"] for one in norms.values()]
    assert all(np.allclose(one, (0.25, 0.5, 0.25), atol=0.005) for one in shares)
    assert all(np.allclose(one["lags"][:2], (1, -0.5), atol=0.005) for one in norms.values())
    never = {eta: 1 - norms[eta, 200]["share_below"] for eta in (0.01, 0.02, 0.05)}
    assert norms[0.1, 200]["diverged"]
    always = [eta for eta, share in never.items() if share == 0]
    signs = {
        (one["collision"], one["lean"], one["alike"]): one["share_parted"] for one in laboratory["cosine"]["signs"]
    }
    assert signs["soft", -1, 1] == signs["hard", 1, 1] == 1
    assert signs["soft", 1, 1] == signs["hard", -1, 1] == 0
    descent = {one["collision"]: one for one in laboratory["descent"]}
    return [
        "stays (¼, ½, ¼)",
        f"for η = {always[1]} and {always[0]} in every trajectory, and for η = 0.05 in all but {100 * never[0.05]:.1f} %",
        f"settles {round(descent['hard, coll_coef 1']['last_over_first'], -4):,.0f} times above",
    ]


PASSAGES = (condensed_layers, faster, losses, knudsen, hindered, slowed_down, kept_apart, theory)


@pytest.mark.parametrize("passages", PASSAGES)
def test_numbers_are_those_of_the_records(passages: Callable[[], list[str]]) -> None:
    assert missing(PAGE, passages()) == []


def test_every_number_is_covered() -> None:
    assert missing(PAGE, [*DESIGN, *PRINTED]) == []
    assert uncovered(PAGE, [*DESIGN, *PRINTED, *(one for passages in PASSAGES for one in passages())]) == []
