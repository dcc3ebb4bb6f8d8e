"""One-line messages for errors from Hydra, OmegaConf and pydantic: what, where, and a remedy."""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any

from hydra.errors import InstantiationException
from pydantic import ValidationError

from kiti.data import DataError
from kiti.units.registry import keys_of

# Groups of Hydra's whose options plug-ins add.
_PLUGGED = {"hydra/launcher", "hydra/sweeper"}


class ConfigError(ValueError):
    """An error in a configuration, in one line: what, where, and a remedy."""


def line(error: BaseException, known: Callable[[], Sequence[str]]) -> str:
    """One line for any error from composing a configuration; `known` returns the existing keys."""
    if isinstance(error, ConfigError | DataError):
        return str(error)
    text = str(error)
    if isinstance(error, InstantiationException):
        node = re.search(r"full_key: (\S+)", text)
        return f"{node.group(1)}: {error.__cause__}" if node else str(error.__cause__)
    if unknown := re.search(r"Could not override '([^']+)'", text):
        return unknown_key(unknown.group(1), known())
    if group := re.search(r"In '[^']*': Could not find '([^']+)'", text):
        name, _, option = group.group(1).rpartition("/")
        more = f"; others need a plug-in of Hydra: pip install hydra-<name>-{name[6:]}" if name in _PLUGGED else ""
        return f"{name}={option}: no such option; there are {_options(text)}{more}"
    if "You must specify" in text:
        name = re.search(r"specify '([^']+)'", text)
        return f"{name.group(1) if name else 'a group'}=<option> is missing; there are {_options(text)}"
    if "Config group override must be" in text:
        return "a group=null among the overrides: give one of the group's options, or =none where there is that"
    return first_line(error)


def invalid(error: ValidationError, plain: dict[str, Any]) -> str:
    """`residual.coll_coef=1.5: Input should be less than or equal to 1`."""
    first = error.errors()[0]
    path = _path(first["loc"], plain)
    where = ".".join(path)
    message = first["msg"].removeprefix("Value error, ")
    if not path:
        return message
    if first["type"] == "extra_forbidden":
        return _not_offered(path, plain)
    if first["type"] == "missing":
        return f"{where}: missing; give it as {where}=<value>"
    value = _lookup(plain, path)
    shown = f"={value}" if not isinstance(value, dict) else ""
    return f"{where}{shown}: {message[0].lower() + message[1:]}"


def first_line(error: BaseException) -> str:
    return " ".join(str(error).split("\n")[0].split()) or type(error).__name__


def flat(node: Any, prefix: str = "") -> list[str]:
    """The dotted keys of a nested dict."""
    if not isinstance(node, dict):
        return [prefix]
    return [name for key, child in node.items() for name in flat(child, f"{prefix}.{key}" if prefix else str(key))]


def _options(text: str) -> str:
    """The options that Hydra lists, one per line, before its search path, without base configurations (_…)."""
    return ", ".join(re.findall(r"^\t([^\W_]\w*)$", text, re.MULTILINE))


def unknown_key(key: str, known: Sequence[str]) -> str:
    """`data.gird: no such key; close: data.grid`."""
    if key.startswith("hydra."):
        return f"{key}: no such key; --cfg hydra shows those of Hydra"
    parent = key.rsplit(".", 1)[0] + "."
    known = [one for one in known if not one.endswith("_")]
    close = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    siblings = [k for k in known if k.startswith(parent)]
    hint = f"close: {', '.join(close)}" if close else f"there are {', '.join(siblings[:12])}" if siblings else ""
    return f"{key}: no such key" + (f"; {hint}" if hint else "")


def _not_offered(path: list[str], plain: dict[str, Any]) -> str:
    """A key that kiti's schema does not have, whether or not the class that is built has it."""
    parent = _lookup(plain, path[:-1])
    target = parent.get("_target_") if isinstance(parent, dict) else None
    # Keys at their neutral defaults need not be in the YAML.
    declared = keys_of(target).model_fields if isinstance(target, str) else parent if isinstance(parent, dict) else ()
    keys = [key for key in declared if key not in {path[-1], "target", "partial"} and not key.startswith("_")]
    of = f" for {target}" if target else ""
    return f"{'.'.join(path)}: kiti does not offer this key{of}; there are {', '.join(keys) or 'none'}"


def _path(loc: tuple[int | str, ...], plain: dict[str, Any]) -> list[str]:
    """The key path of a pydantic location, without the union types that pydantic inserts."""
    path: list[str] = []
    node: Any = plain
    for position, part in enumerate(loc):
        if (isinstance(node, dict) and part in node) or (isinstance(node, list) and isinstance(part, int)):
            node = node[part]  # type: ignore[index]
        elif position < len(loc) - 1 or "[" in str(part):
            continue
        path.append(str(part))
    return path


def _lookup(plain: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(plain, dict):
            plain = plain.get(part)
        elif isinstance(plain, list):
            plain = plain[int(part)]
        else:
            return None
    return plain
