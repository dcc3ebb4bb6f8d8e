"""Finds and reads the YAML files of the sheets."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
import yaml

from kiti.report.sheets.figure_sheet import FigureSpec
from kiti.report.sheets.heatmap_sheet import HeatmapSpec
from kiti.report.sheets.history_sheet import HistorySpec
from kiti.report.sheets.picture_sheet import PictureSpec
from kiti.report.sheets.rows import Scale, SheetError
from kiti.report.sheets.steps_sheet import StepsSpec
from kiti.report.sheets.sweep_sheet import SweepSpec
from kiti.report.sheets.table_sheet import TableSpec
from kiti.storage.records import validation_line

Sheet = TableSpec | FigureSpec | SweepSpec | PictureSpec | HeatmapSpec | HistorySpec | StepsSpec
Valid = TypeVar("Valid")
_SHEET: pydantic.TypeAdapter[Sheet] = pydantic.TypeAdapter(Annotated[Sheet, pydantic.Field(discriminator="kind")])


CLAIMS = "claims"
"""<paper>/claims.yaml has the claims of a paper, see kiti.report.claims, and is no sheet."""


def names(experiments: Path) -> list[str]:
    """Every table and figure below `experiments`, as <paper>/<name>."""
    found = (path.relative_to(experiments).with_suffix("") for path in experiments.glob("*/*.yaml"))
    return sorted(str(path) for path in found if path.name != CLAIMS)


def claims_papers(experiments: Path) -> list[str]:
    """The papers below `experiments` that have claims."""
    return sorted(path.parent.name for path in experiments.glob(f"*/{CLAIMS}.yaml"))


def load(name: str, experiments: Path) -> Sheet:
    """The table or figure `name`. SheetError when it does not exist or its description is invalid."""
    known = names(experiments)
    if name not in known:
        raise SheetError(f"no table or figure {name!r}; there are: {', '.join(known) or 'none'}")
    return read_valid(experiments / f"{name}.yaml", _SHEET.validate_python)


def read_valid(path: Path, validate: Callable[[Any], Valid]) -> Valid:
    """What `validate` makes of a YAML file. SheetError, in one line, if the file is no YAML or not valid."""
    try:
        return validate(read_yaml(path))
    except yaml.YAMLError as error:
        raise SheetError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except pydantic.ValidationError as error:
        raise SheetError(f"{path}: {validation_line(error)}") from None


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, by libyaml where it is there: that is ten times as fast."""
    return yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def scale_of(sheet: Sheet, name: str, scale: str) -> Scale:
    """The settings of this sheet for `scale`; SheetError for an unknown scale."""
    if scale not in sheet.scales:
        raise SheetError(f"{name} has no scale {scale!r}; it has: {', '.join(sheet.scales)}")
    return sheet.scales[scale]


def default_scale(sheet: Sheet) -> str:
    """`laptop`, or `paper` for a sheet without a laptop scale."""
    return "laptop" if "laptop" in sheet.scales else "paper"


def outputs_stem(name: str, experiments: Path) -> Path:
    """The output path of <paper>/<name>, <paper>/outputs/<name>, without .<scale>.<extension>."""
    return (experiments / name).parent / "outputs" / Path(name).name


def committed(experiments: Path, wanted: Iterable[str] = ()) -> list[tuple[str, str]]:
    """(name, scale) of each committed output, for the names `wanted` or for all."""
    chosen = set(wanted)
    found = []
    for name in names(experiments):
        if not chosen or name in chosen:
            stem = outputs_stem(name, experiments)
            found += [(name, output.name.split(".")[-2]) for output in sorted(stem.parent.glob(f"{stem.name}.*.md"))]
    return found
