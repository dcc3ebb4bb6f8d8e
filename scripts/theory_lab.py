"""Simulate the theory of both papers: KITINet's Appendix J, KO's Theorems 3.2 and 3.3. Takes some minutes.

    python scripts/theory_lab.py --into experiments/theory              # simulate, then write record, tables, pictures
    python scripts/theory_lab.py --into experiments/theory --rebuild    # tables and pictures again, from the record

docs/findings.md says what the statements claim and which hold.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from kiti.neurons.theory.studies import DESCENT, EQUILIBRIA, LAGS, PAIR_TRIALS, cosine_changes, descents, equilibrium
from kiti.report.drawing.rendering import rendered
from kiti.report.formats import Grid, markdown, plain
from kiti.report.provenance import PACKAGES, provenance
from kiti.storage.records import git_state, package_versions, write_whole
from kiti.training.device import device_name

RECORD = "lab.json"


def simulate() -> dict[str, Any]:
    started = time.time()
    git = git_state(Path(__file__).parents[1])
    found = {
        "equilibrium": [equilibrium(eta, m, trajectories) for eta, m, trajectories in EQUILIBRIA],
        "cosine": cosine_changes(),
        "descent": descents(),
    }
    return {
        "schema": 1,
        "device_name": device_name(torch.device("cpu")),
        "versions": package_versions(PACKAGES),
        "git": {"commit": git.commit, "dirty": git.dirty},
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "wall_seconds": time.time() - started,
        **found,
    }


def equilibrium_grid(record: dict[str, Any]) -> Grid:
    header = ["η", "m", "trajectories", "η E|a|²", "shares of a < 0, = 0, > 0", "|a|² / (m √η / 2)"]
    header += ["E[δ(t) δ(t+k)] / √η, k = 0 … 5", "|mean θ| / its error", "first t with mean |w|² ≤ √η", "1/η²"]
    lines = []
    for one in record["equilibrium"]:
        first = "never, it grows" if one["diverged"] else f"{one['median_first']:.0f}, latest {one['latest_first']:.0f}"
        if not one["diverged"] and one["share_below"] < 1:
            first += f", {1 - one['share_below']:.1%} never"
        lines.append(
            [
                f"{one['eta']:g}",
                str(one["m"]),
                str(one["trajectories"]),
                plain(one["gain"], 3),
                ", ".join(f"{share:.3f}" for share in one["shares"]),
                f"{one['outer_square']:.3f}",
                ", ".join(f"{value:.3f}" for value in one["lags"]),
                "–" if one["diverged"] else f"{one['theta_over_error']:.1f}",
                first,
                f"{one['eta'] ** -2:.0f}",
            ]
        )
    notes = [
        "Equations 30 to 33 with d = 5; (1/n) Σ x xᵀ is taken at its limit, the identity. Expected: shares ¼, ½, ¼; "
        "correlations 1, −½, 0, 0, 0, 0; mean θ zero within two or three errors.",
        "A step multiplies W along a by 1 − η|a|², so the equations need η E|a|² = m η^1.5 / 2 below 2, which the "
        "appendix does not ask for.",
        provenance(record),
    ]
    return Grid("KITINet Appendix J, simulated", header, lines, notes)


def cosine_grid(record: dict[str, Any]) -> Grid:
    header = ["collision", "descent lets the neurons", "their cosine", "d|cos|/dη added, mean ± error", "parted in"]
    lines = []
    for one in record["cosine"]["signs"]:
        lines.append(
            [
                one["collision"],
                {-1: "grow", 1: "shrink", 0: "neither"}[one["lean"]],
                "positive" if one["alike"] > 0 else "negative",
                f"{one['mean']:+.4f} ± {one['error']:.4f}",
                f"{one['share_parted']:.0%} of trials",
            ]
        )
    errors = ", ".join(f"{one['relative_error']:.1g} at η = {one['eta']:g}" for one in record["cosine"]["errors"])
    notes = [
        f"Two neurons of 20 weights, {PAIR_TRIALS} trials; soft: coll_coef 0.1 without the diagonal; hard: coll_coef "
        "1, so that the pair collides. Parted: collisions lower |cos|, to first order in η.",
        f"A real step changes |cos| as the first order (11) says, to a median relative error of {errors}.",
        provenance(record),
    ]
    return Grid("KO Theorem 3.2: do collisions lower the correlation of weights?", header, lines, notes)


def descent_grid(record: dict[str, Any]) -> Grid:
    header = [
        "collision",
        "mean of |g|² along the way",
        "right side of (19)",
        "seeds within it",
        "last |g|² over first",
    ]

    def number(value: float | None) -> str:
        return "grows without end" if value is None else plain(value, 3)

    lines = [
        [
            one["collision"],
            number(one["mean_square"]),
            number(one["bound"]) if one["mean_square"] is not None else "–",
            f"{one['holds']:.0%}" if one["mean_square"] is not None else "–",
            number(one["last_over_first"]),
        ]
        for one in record["descent"]
    ]
    notes = [
        "Quadratics of {neurons} neurons with {dimension} weights, curvatures from {least} to 1, η = {eta}, {steps} "
        "steps, medians over {seeds} seeds.".format(**DESCENT),
        "(19) with σ² the largest |δ|² seen. The theorem asks only |δ| ≤ D of soft collisions, which the constant push "
        "has.",
        provenance(record),
    ]
    return Grid("KO Theorem 3.3: does descent with collisions converge?", header, lines, notes)


def draw_equilibrium(record: dict[str, Any]) -> dict[str, bytes]:
    kept = record["equilibrium"]

    def draw(figure: Any) -> None:
        law, lags, decay = figure.subplots(1, 3)
        for number, one in enumerate(kept):
            label = f"η = {one['eta']:g}, m = {one['m']}"
            law.plot([-1, 0, 1], one["shares"], "o", alpha=0.7, label=label)
            lags.plot(range(LAGS + 1), one["lags"], "o", alpha=0.7)
            t, low, middle, high = (list(part) for part in zip(*one["curve"][1:], strict=True))
            color = f"C{number}"
            decay.plot(t, middle, color=color)
            decay.fill_between(t, low, high, color=color, alpha=0.25, linewidth=0)
            decay.axhline(one["eta"] ** 0.5, color=color, linestyle=":", linewidth=1)
            decay.axvline(one["eta"] ** -2, color=color, linestyle="--", linewidth=1)
        law.plot([-1, 0, 1], [0.25, 0.5, 0.25], "k_", markersize=14, label="expected")
        lags.plot(range(LAGS + 1), [1, -0.5, *[0] * (LAGS - 1)], "k_", markersize=14)
        law.set(title="law of a at the last step", xlabel="a / η^¼", xticks=[-1, 0, 1], ylim=(0, 0.6))
        lags.set(title="E[δ(t) δ(t+k)] / √η", xlabel="k")
        decay.set(title="mean |w|²: median, 10 to 90 %", xlabel="t", xscale="log", yscale="log")
        decay.text(0.03, 0.03, "dotted: √η, dashed: t = 1/η²", transform=decay.transAxes, fontsize=7)
        figure.legend(loc="outside lower center", ncols=len(kept) + 1)
        figure.suptitle("KITINet Appendix J, simulated")

    return rendered((10.5, 3.8), draw)


def draw_cosine(record: dict[str, Any]) -> dict[str, bytes]:
    def draw(figure: Any) -> None:
        signs, first = figure.subplots(1, 2, width_ratios=(2, 1))
        rows = record["cosine"]["signs"]
        names = [
            f"{one['collision']}, {({-1: 'growing', 1: 'shrinking', 0: 'unrelated'})[one['lean']]}, "
            f"cos {'> 0' if one['alike'] > 0 else '< 0'}"
            for one in rows
        ]
        largest = {name: max(abs(one["mean"]) for one in rows if one["collision"] == name) for name in ("soft", "hard")}
        values = [one["mean"] / largest[one["collision"]] for one in rows]
        errors = [2 * one["error"] / largest[one["collision"]] for one in rows]
        colors = ["tab:green" if value < 0 else "tab:red" for value in values]
        signs.barh(names, values, xerr=errors, color=colors)
        signs.invert_yaxis()
        signs.axvline(0, color="black", linewidth=0.8)
        signs.set(title="d|cos|/dη that collisions add", xlabel="green: neurons are parted (largest of its kind: 1)")
        etas, off = zip(*((one["eta"], one["relative_error"]) for one in record["cosine"]["errors"]), strict=True)
        first.loglog(etas, off, "o-")
        first.set(title="first order against a real step", xlabel="η", ylabel="relative error")
        figure.suptitle("KO Theorem 3.2")

    return rendered((9.5, 3.6), draw)


def draw_descent(record: dict[str, Any]) -> dict[str, bytes]:
    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for one in record["descent"]:
            points = [(t + 1, value) for t, value in one["curve"] if value is not None and 1e-12 < value < 1e6]
            axes.loglog(*zip(*points, strict=True), label=one["collision"])
        axes.set(
            xlabel="step", ylabel="|g|², median over seeds", title="KO Theorem 3.3 on quadratics", ylim=(1e-12, 1e6)
        )
        axes.grid(alpha=0.3, linewidth=0.5)
        figure.legend(loc="outside lower center", ncols=2)

    return rendered((5.6, 4.6), draw)


STUDIES: dict[str, tuple[Callable[[dict[str, Any]], Grid], Callable[[dict[str, Any]], dict[str, bytes]]]] = {
    "appendix_j": (equilibrium_grid, draw_equilibrium),
    "theorem_3_2": (cosine_grid, draw_cosine),
    "theorem_3_3": (descent_grid, draw_descent),
}


def main(arguments: Sequence[str] | None = None) -> None:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--into", type=Path, required=True, metavar="DIR", help="where record, tables and pictures go")
    parser.add_argument("--rebuild", action="store_true", help="do not simulate; redraw from the existing record")
    options = parser.parse_args(arguments)
    path = options.into / RECORD
    if options.rebuild:
        try:
            record = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            sys.exit(f"theory_lab: {path}: {error}; run without --rebuild to create it")
    else:
        record = simulate()
        write_whole(path, (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode())
    for name, (grid, draw) in STUDIES.items():
        write_whole(options.into / f"{name}.md", markdown(grid(record)).encode())
        for ending, content in draw(record).items():
            write_whole(options.into / f"{name}.{ending}", content)
        print(markdown(grid(record)))


if __name__ == "__main__":
    main()
