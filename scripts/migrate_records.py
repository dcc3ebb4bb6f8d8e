"""Migrate records from schema 1 to schema 2, in place: records committed below experiments/ and of local runs.

    python scripts/migrate_records.py experiments runs

A record's configuration then has the units' names instead of their import paths, and a new hash; metrics and all other
measurements stay the same. It counts as revision 1 of every unit, with an unknown fingerprint. A local run moves to
the directory of its new hash. Records of schema 2 are not changed, so this may be repeated.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from safetensors.numpy import load_file, save

from kiti.configuration import identity
from kiti.configuration.locations import CONF
from kiti.configuration.schema import GROUPS, validated
from kiti.storage import records
from kiti.units.keys import DECLARED, Factory
from kiti.units.registry import import_declarations

# Keys that a record leaves out but a configuration needs.
ABSENT = {"seed": 0, "data_dir": "", "path": "", "replicas": 1, "workers": 0, "eval_batch_size": 1}
DEFAULTS: dict[str, Any] = yaml.safe_load((CONF / "callbacks" / "default.yaml").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    hashes: dict[str, str] = {}
    for folder in parser.parse_args().folders:
        for path in sorted(folder.glob("*/records/*.jsonl")):
            hashes |= migrate_committed(path)
        for path in sorted(folder.glob("*/records/examples-*.safetensors")):
            migrate_examples(path, hashes)
        for path in sorted(folder.glob("*/*/seed-*/record.json")):
            migrate_run(path)


def migrate_committed(path: Path) -> dict[str, str]:
    """Rewrite a .jsonl file; return the new hashes by the old ones."""
    old = [json.loads(line) for line in path.read_text().splitlines()]
    new = [migrated(record) if record["schema"] == 1 else record for record in old]
    hashes = {one["config_hash"]: other["config_hash"] for one, other in zip(old, new, strict=True)}
    if old != new:
        lines = [json.dumps(one, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n" for one in new]
        records.write_whole(path, "".join(lines).encode())
        parsed = records.read_lines(path)
        path.unlink()
        records.publish(parsed, path)  # in the same order and form as later publications
        print(f"{path}: {len(new)} records")
    return hashes


def migrate_examples(path: Path, hashes: dict[str, str]) -> None:
    arrays = load_file(path)
    new = {}
    for name, array in arrays.items():
        config_hash, rest = name.split("/", 1)
        new[f"{hashes.get(config_hash, config_hash)}/{rest}"] = array
    if new.keys() != arrays.keys():
        records.write_whole(path, save(dict(sorted(new.items()))))
        print(f"{path}: {len(new)} arrays")


def migrate_run(path: Path) -> None:
    old = json.loads(path.read_text())
    if old["schema"] != 1:
        return
    try:
        new = migrated(old)
    except (ValidationError, ValueError) as error:
        print(f"{path}: unchanged: {' '.join(str(error).split())}", file=sys.stderr)
        return
    folder = path.parents[2] / new["config_hash"] / path.parent.name
    if folder.exists():
        print(f"{path}: unchanged: {folder} exists", file=sys.stderr)
        return
    folder.parent.mkdir(exist_ok=True)
    os.rename(path.parent, folder)
    records.write_whole(folder / path.name, json.dumps(new, indent=1).encode())
    print(f"{path} -> {folder}")


def migrated(old: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 2 as JSON."""
    checked = validated(configuration(old["config"]))
    renamed = {"gas.": "collision_defaults.", "collision.params": "collision.neurons"}
    overrides = list(old["overrides"])
    for before, after in renamed.items():
        overrides = [after + o.removeprefix(before) if o.startswith(before) else o for o in overrides]
    finite = all(value is not None and math.isfinite(value) for value in old["metrics"].values())
    overrides, places = identity.split_overrides(checked, overrides)
    return old | {
        "schema": 2,
        "config": identity.recorded(checked),
        "config_hash": identity.config_hash(checked),
        "overrides": overrides,
        "places": places or None,
        "revisions": identity.revisions(checked),
        "state": "finished" if finite else "diverged",
    }


def configuration(recorded: dict[str, Any]) -> dict[str, Any]:
    """The recorded configuration in its current, complete form: current import paths, and keys that a record omits."""
    config = dict(recorded)
    config["collision_defaults"] = {"system_axis": -1} | config.pop("gas")
    config["callbacks"] = DEFAULTS | config["callbacks"]
    if "params" in config["collision"]:
        config["collision"] = dict(config["collision"])
        config["collision"]["neurons"] = config["collision"].pop("params")
    config = {
        "averaging": {},
        "runs_dir": "",
        **{key: ABSENT[key] for key in ("seed", "replicas", "data_dir")},
    } | config
    for group in GROUPS:
        config[group] = current(config[group]) if config[group] else {}
    config["callbacks"] = {name: current(node) for name, node in config["callbacks"].items()}
    return config


def current(node: dict[str, Any]) -> dict[str, Any]:
    keys = next(one for target, one in DECLARED.items() if target.split(".")[-1] == node["_target_"].split(".")[-1])
    needed = {key: value for key, value in ABSENT.items() if key in keys.model_fields}
    partial = {"_partial_": True} if issubclass(keys, Factory) else {}
    return needed | node | {"_target_": keys.builds} | partial


if __name__ == "__main__":
    import_declarations()
    main()
