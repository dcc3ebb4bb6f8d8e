"""Locations: conf/ and experiments/ are beside the package in a checkout, inside it in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]

# The build copies conf/ into the package; a checkout has none there, which distinguishes the two.
CHECKOUT: Path | None = None if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent

CONF = (CHECKOUT or _PACKAGE) / "conf"
EXPERIMENTS = (CHECKOUT or _PACKAGE) / "experiments"


def working_root() -> Path:
    """Default parent of `runs/` and `data/`: the checkout, or with an installed wheel the working directory."""
    return CHECKOUT or Path.cwd()
