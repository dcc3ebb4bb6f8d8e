"""Where things are: beside the package in a checkout, inside it in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]

# The build copies conf/ into the package, and a checkout has none there: that distinguishes the two, whatever
# else lies beside either.
CHECKOUT: Path | None = None if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent

CONF = (CHECKOUT or _PACKAGE) / "conf"
EXPERIMENTS = (CHECKOUT or _PACKAGE) / "experiments"


def working_root() -> Path:
    """What `runs/` and `data/` are below by default: the checkout, or with an installed wheel the working directory."""
    return CHECKOUT or Path.cwd()
