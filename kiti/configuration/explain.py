"""One-line messages for errors from Hydra, OmegaConf and pydantic: what, where, and a remedy."""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any

from hydra.errors import InstantiationException
from pydantic import ValidationError

from kiti.data import DataError


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
        return f"{group.group(1).replace('/', '=')}: no such option; there are {_options(text)}"
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
        return f"{where}: no such key for {_lookup(plain, [*path[:-1], '_target_']) or 'this option'}"
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
    parent = key.rsplit(".", 1)[0] + "."
    close = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    siblings = [k for k in known if k.startswith(parent) and not k.endswith("_")]
    hint = f"close: {', '.join(close)}" if close else f"there are {', '.join(siblings[:12])}" if siblings else ""
    return f"{key}: no such key" + (f"; {hint}" if hint else "")


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
