"""The dose of a run and its marks, of new and of committed records."""

import math

import pytest
from record_cases import make_record

from kiti.configuration.locations import CHECKOUT
from kiti.report.collision_effects import Dose, dose_marks, doses, energy_ratio, gradient_change, pairs
from kiti.storage.records import Record, read_lines


def of_modules(*found: tuple[float, float, int], seed: int = 0, **changes) -> Record:
    """A record whose modules have these pairs, energy ratios and particles."""
    collisions = {
        f"m{number}": {"pairs": each, "partners": 2 * each / n, "energy_ratio": energy, "particles": float(n)}
        for number, (each, energy, n) in enumerate(found)
    }
    return make_record(seed, collisions=collisions, **changes)


def committed(paper: str, name: str, **config: object) -> list[Record]:
    """The committed records whose residual has these keys."""
    assert CHECKOUT is not None
    everything = read_lines(CHECKOUT / "experiments" / paper / "records" / f"{name}.jsonl")
    return [one for one in everything if config.items() <= one.config["residual"].items()]


def test_a_record_has_its_own_pairs() -> None:
    record = of_modules((0.5, 1.2, 8), (1.5, 1.4, 8))
    assert doses(record) == {"m0": Dose(0.5, 1.2, 8), "m1": Dose(1.5, 1.4, 8)}
    assert pairs(record) == 1.0
    assert pairs(record, {"m0": 99, "m1": 99}) == 1.0
    assert energy_ratio(record) == pytest.approx(1.3)


def test_an_older_record_needs_the_features() -> None:
    found = {"m": {"partners": 0.5, "energy_ratio": 1.1}}
    record = make_record(collisions=found, config={"residual": {"collision_heads": 8}})
    assert math.isnan(pairs(record))
    assert pairs(record, {"m": 64}) == 2.0
    assert doses(record, {"m": 64}) == {"m": Dose(2.0, 1.1, 8)}
    assert energy_ratio(record) == 1.1


def test_without_collisions_nothing_is_known_or_marked() -> None:
    record = make_record(collisions=None)
    assert all(map(math.isnan, (pairs(record), energy_ratio(record), gradient_change(record))))
    assert dose_marks([record]) == dose_marks([]) == []


@pytest.mark.parametrize(
    ("found", "marks"),
    [
        ([(0.1, 2.0, 8)], []),
        ([(0.03, 1.0, 8)], ["almost no collisions (0.03 pairs a system)"]),
        ([(0.0, 1.0, 8)], ["almost no collisions (0 pairs a system)"]),
        ([(0.0, 1.0, 1)], []),  # a single particle never collides
        ([(0.0, 1.0, 1), (0.15, 1.0, 2)], []),
        ([(0.0, 1.0, 8), (0.15, 1.0, 2)], ["almost no collisions (0.075 pairs a system)"]),
        ([(5.0, 38.4, 8), (5.0, 1.0, 8)], ["energy ×38"]),
        ([(5.0, 2.13, 8)], ["energy ×2.1"]),
        ([(5.0, 12345.6, 8)], ["energy ×12346"]),
        ([(0.05, 2.5, 8)], ["almost no collisions (0.05 pairs a system)", "energy ×2.5"]),
        ([(5.0, math.nan, 8)], ["energy not finite"]),
        ([(5.0, math.inf, 8), (5.0, 1.0, 8)], ["energy not finite"]),
    ],
)
def test_marks(found: list[tuple[float, float, int]], marks: list[str]) -> None:
    assert dose_marks([of_modules(*found)]) == marks


def test_marks_are_of_means_over_seeds() -> None:
    assert dose_marks([of_modules((0.05, 1.0, 8)), of_modules((0.25, 2.9, 8), seed=1)]) == []
    assert dose_marks([of_modules((0.05, 1.0, 8)), of_modules((0.05, 3.2, 8), seed=1)]) == [
        "almost no collisions (0.05 pairs a system)",
        "energy ×2.1",
    ]


def test_hard_collisions_of_gradients_are_marked_too() -> None:
    few = make_record(collisions=None, ko={"w": 0.01}, ko_pairs={"w": 0.02, "u": 0.04})
    assert pairs(few) == pytest.approx(0.03)
    assert gradient_change(few) == 0.01
    assert dose_marks([few]) == ["almost no collisions (0.03 pairs a system)"]
    assert dose_marks([make_record(collisions=None, ko={"w": 3.0})]) == [], "soft ones have no pairs"
    both = of_modules((5.0, 1.0, 8), ko={"w": 0.01}, ko_pairs={"w": 0.02})
    assert dose_marks([both]) == ["almost no collisions (0.02 pairs a system)"]


def test_committed_records() -> None:
    burgers = committed("kitinet", "burgers-paper", unit="kiti", coll_coef=0.015)
    features = dict.fromkeys(burgers[0].collisions, 64)
    known = [pairs(record, features) for record in burgers]
    layers = burgers[0].collisions.values()
    assert known[0] == sum(found["partners"] * 8 / 2 for found in layers) / len(layers)
    assert math.isnan(pairs(burgers[0]))
    [mark] = dose_marks(burgers, features)
    assert mark == f"almost no collisions ({sum(known) / len(known):.2g} pairs a system)"
    assert dose_marks(burgers) == [], "how many pairs collide is not known"

    flows = committed("kitinet", "navier_stokes-laptop", unit="kiti", coll_coef=0.7)
    [mark] = dose_marks(flows[:1])
    most = max(found["energy_ratio"] for found in flows[0].collisions.values())
    assert most > 50
    assert mark == f"energy ×{most:.2g}"

    resnets = [one for one in committed("ko", "fashion_resnet50-laptop") if one.ko_pairs]
    assert pairs(resnets[0]) == resnets[0].ko_pairs["fc.weight"] > 5
    assert gradient_change(resnets[0]) == resnets[0].ko["fc.weight"]
    assert dose_marks(resnets) == []
