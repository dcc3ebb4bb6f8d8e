"""From patterns to the modules of a model."""

import difflib
import re
from collections.abc import Sequence

from torch import nn

from kiti.seams.fitting import SeamError

OUTPUT = ":output"


def pairs(
    model: nn.Module, branches: str | Sequence[str], shortcuts: str | Sequence[str]
) -> list[tuple[str, str, bool]]:
    """(branch, shortcut, whether x is the shortcut's output), by module names, in the model's order.

    A `*` stands for one part of a name, such as the index of a block; a shortcut's stand for the same as its branch's.

    Raises:
        SeamError: a pattern matches nothing, or the two do not pair; the message lists near names.
    """
    branches = [branches] if isinstance(branches, str) else list(branches)
    shortcuts = [shortcuts] if isinstance(shortcuts, str) else list(shortcuts)
    if len(branches) != len(shortcuts):
        raise SeamError(f"branch has {len(branches)} patterns and shortcut {len(shortcuts)}: as many are needed")
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    order = {name: at for at, name in enumerate(names)}
    found: list[tuple[str, str, bool]] = []
    for branch, shortcut in zip(branches, shortcuts, strict=True):
        of_output = shortcut.endswith(OUTPUT)
        shortcut = shortcut.removesuffix(OUTPUT)
        if shortcut.count("*") not in (0, branch.count("*")):
            raise SeamError(f"shortcut={shortcut!r} needs as many * as branch={branch!r}, which they must match")
        regex = re.compile(re.escape(branch).replace(r"\*", r"([^.]+)"))
        matches = [match for name in names if (match := regex.fullmatch(name))]
        if not matches:
            raise SeamError(f"branch={branch!r} matches no module; {_near(branch, names)}")
        for match in matches:
            filled = shortcut
            for part in match.groups():
                filled = filled.replace("*", part, 1)
            if filled not in order:
                raise SeamError(f"shortcut={shortcut!r} matches no module {filled!r}; {_near(filled, names)}")
            found.append((match.string, filled, of_output))
    return sorted(found, key=lambda each: order[each[0]])


def _near(pattern: str, names: list[str]) -> str:
    close = difflib.get_close_matches(pattern, names, cutoff=0.3) or names[:3]
    return f"near names: {', '.join(close)}" if close else "the model has no submodules"
