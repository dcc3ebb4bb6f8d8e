"""What docs/results.md quotes of image classification, from committed outputs."""

from quoted_pages import WORDS, cosine, lines

from kiti.report.claims.evidence import OutputLine

TABLE3, TABLE1, TABLE2 = "kitinet/table3.laptop", "ko/table1.laptop", "ko/table2.laptop"


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


PASSAGES = (pictures, gradients, imagenet)
