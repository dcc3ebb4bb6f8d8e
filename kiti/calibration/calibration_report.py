"""A calibration as Markdown, CSV and a plot."""

import csv
import io
from statistics import median

from kiti.calibration.acceptance import Acceptance

Measured = dict[str, list[Acceptance]]


def recommended(measured: Measured) -> dict[int, float]:
    """{collision_heads: coll_coef for about one pair per system}: the median over modules, which share one setting."""
    heads = sorted({row.collision_heads for rows in measured.values() for row in rows})
    return {
        h: median([row.one_pair for rows in measured.values() for row in rows if row.collision_heads == h])
        for h in heads
    }


def markdown(measured: Measured, setting: str) -> str:
    """Pairs per system at each coll_coef, for each module and collision_heads, and the coll_coef that gives one."""
    rows = [row for rows in measured.values() for row in rows]
    coefficients = list(rows[0].pairs_per_system)
    lines = [
        f"# Accepted pairs per system: {setting}",
        "",
        "KITINet's mean collision probability 2/(N(N-1)) means about one pair per system. This requires",
        ", ".join(f"`collision_heads={h} coll_coef={c:.3g}`" for h, c in recommended(measured).items())
        + " (median over modules).",
        "",
        "| module | heads | N | " + " | ".join(f"c={c:g}" for c in coefficients) + " | c for one pair |",
        "|" + "---|" * (len(coefficients) + 4),
    ]
    for name, accepted in measured.items():
        for row in accepted:
            cells = " | ".join(f"{pairs:.3g}" for pairs in row.pairs_per_system.values())
            lines.append(f"| {name} | {row.collision_heads} | {row.particles} | {cells} | {row.one_pair:.3g} |")
    return "\n".join(lines) + "\n"


def comma_separated(measured: Measured) -> str:
    """One line for each module, collision_heads and coll_coef."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["module", "collision_heads", "particles", "coll_coef", "pairs_per_system", "partners", "one_pair"])
    for name, accepted in measured.items():
        for row in accepted:
            for coefficient, pairs in row.pairs_per_system.items():
                values = (pairs, row.partners(coefficient), row.one_pair)
                writer.writerow([name, row.collision_heads, row.particles, coefficient, *(f"{v:.6g}" for v in values)])
    return text.getvalue()


def draw(measured: Measured, setting: str) -> dict[str, bytes]:
    """One panel per module: pairs per system against coll_coef, one line per collision_heads; one pair is dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(measured), 3.0), layout="constrained")
    panels = figure.subplots(1, len(measured), sharey=True, squeeze=False)[0]
    for panel, (name, accepted) in zip(panels, measured.items(), strict=True):
        for row in accepted:
            shown = {c: pairs for c, pairs in row.pairs_per_system.items() if pairs > 0}
            panel.plot(
                list(shown),
                list(shown.values()),
                marker=".",
                label=f"{row.collision_heads} (N={row.particles})",
            )
        panel.axhline(1, color="black", linestyle="--", linewidth=0.8)
        panel.set(title=name, xlabel="coll_coef", yscale="log", xlim=(0, 1))
    panels[0].set_ylabel("accepted pairs per system")
    panels[-1].legend(title="collision_heads", fontsize=7)
    figure.suptitle(setting, fontsize=9)
    pictures = {}
    for ending in ("png", "svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=ending, dpi=150)
        pictures[ending] = buffer.getvalue()
    return pictures
