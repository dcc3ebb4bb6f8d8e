"""What a run leaves behind: `record.json`, written whole or not at all, and its compact, committed form.

A record says what was run (config and its hash, seed, code, versions, data, device) and what came out
(metrics, costs, collision diagnostics). Metrics that are not finite are stored as null, so that the file is
valid JSON, and read back as nan: a run that diverged is a result.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import math
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic.dataclasses import dataclass

SCHEMA: Literal[2] = 2
FILE_NAME = "record.json"

# Beside the package where kiti runs from its repository; an installed wheel does not carry it.
LOCK = Path(__file__).parents[2] / "requirements.lock"

Number = Annotated[
    float,
    pydantic.BeforeValidator(lambda value: math.nan if value is None else value),
    pydantic.PlainSerializer(lambda value: value if math.isfinite(value) else None, when_used="json"),
]

_CLOSED = pydantic.ConfigDict(extra="forbid")


class RecordError(ValueError):
    """A record that cannot be read or used; the message is one line: what, where, what would do."""


@dataclass(frozen=True, config=_CLOSED)
class GitState:
    """Commit the code was at, whether the tree was `dirty`, and the diff (its sha256 once committed)."""

    commit: str
    dirty: bool
    diff: str


@dataclass(frozen=True, config=_CLOSED)
class DataState:
    """Which data: sha256 of the `content` and, where it was computed, of the `recipe`; what the `split` is.

    The last bit of computed content may differ from one processor to another; its recipe does not. `stand_in` says in
    words what replaces the paper's data.
    """

    content: str
    split: str
    stand_in: str | None = None
    recipe: str | None = None

    @property
    def identity(self) -> str:
        """Equal where the data may be compared."""
        return self.recipe or self.content


@dataclass(frozen=True, config=_CLOSED)
class Curve:
    """A metric during training: its values after these steps, at most 50 of them."""

    steps: list[int]
    values: list[Number]


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class Record:
    """One finished run. `config` leaves out the seed and the places; `started` is UTC in ISO 8601.

    Of `replicas` seeds that one process trained side by side each has its record: seconds and samples are its share,
    memory, collisions and ko those of all together.

    Attributes:
        places: the overrides that say where things are, only on the machine where the run was made.
        revisions: of the run's units, part of the hash; a plug-in's is the digest of its sources.
        fingerprint: by unit, a digest of the source files behind it; None: unknown.
        sources: the digest of every one of these files, only on that machine.
        lock: which lock file `make setup` installed from (see `lock_digest`).
        weights: sha256 of the weights' file.
        state: `diverged` if a metric is not finite.
        implementations: by module, which form of the collision ran.
        counts: of data rows that were dropped, of items that were truncated, and the like.
        items: name of a file beside the record with a result for each item of the test set.
        replicate: names this run where it repeats another of the same hash and seed, on another machine say.
    """

    schema: Literal[2] = SCHEMA
    experiment: str
    scale: str
    seed: int
    config_hash: str
    config: dict[str, Any]
    overrides: list[str]
    places: list[str] | None = None
    revisions: dict[str, int | str]
    fingerprint: dict[str, str] | None = None
    sources: dict[str, str] | None = None
    git: GitState
    versions: dict[str, str]
    lock: str | None = None
    data: DataState
    device: str
    device_name: str
    precision: str
    world_size: int
    started: str
    wall_seconds: float
    train_samples_per_second: Number | None
    peak_memory_mib: Number | None
    parameters: int
    flops_per_sample: Number | None
    state: Literal["finished", "diverged"] = "finished"
    metrics: dict[str, Number]
    curves: dict[str, Curve] | None = None
    collisions: dict[str, dict[str, Number]] | None = None
    implementations: dict[str, str] | None = None
    ko: dict[str, Number] | None = None
    replicas: int = 1
    weights: str | None = None
    counts: dict[str, int] | None = None
    items: str | None = None
    replicate: str | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        """What there is one record of."""
        return self.config_hash, self.seed, self.replicate or ""


_RECORD = pydantic.TypeAdapter(Record)


def write(record: Record, run_dir: Path) -> Path:
    """Write `run_dir/record.json` whole or not at all and return its path."""
    path = run_dir / FILE_NAME
    write_whole(path, _RECORD.dump_json(record, indent=1) + b"\n")
    return path


def read(path: Path) -> Record:
    """The record at `path`; RecordError when it is not readable, not JSON, or not a record of this schema."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"record {path}: {error.strerror}") from None
    return _parse(content, f"record {path}", "move it away and run the run again")


def compact(record: Record) -> str:
    """The record as one JSON line fit to commit: the diff as its sha256, nothing that only this machine needs."""
    diff = record.git.diff
    if diff and not diff.startswith("sha256:"):
        diff = "sha256:" + hashlib.sha256(diff.encode()).hexdigest()
    portable = replace(record, git=replace(record.git, diff=diff), sources=None, places=None)
    plain = _RECORD.dump_python(portable, mode="json", exclude_defaults=True) | {"schema": SCHEMA}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def read_lines(path: Path) -> list[Record]:
    """The records of a committed .jsonl file; RecordError names the line that is not one."""
    with path.open("rb") as lines:
        return [
            _parse(line, f"{path}:{n}", "restore the file from git") for n, line in enumerate(lines, 1) if line.strip()
        ]


def publish(records: Iterable[Record], path: Path) -> None:
    """Merge `records` into the committed file at `path`, a line each: one a key, the newer wins.

    Lines of one configuration are much alike; git packs them ten to one, so that they need no packing here.
    """
    merged = {record.key: record for record in (read_lines(path) if path.exists() else [])}
    merged |= {record.key: record for record in records}
    write_whole(path, "".join(compact(merged[key]) + "\n" for key in sorted(merged)).encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that no reader, and no crash, ever sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)  # the rename itself is durable only once the folder is
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def git_state(repo: Path | None) -> GitState:
    """Commit of `repo` and how it differs: the diff of tracked files, then untracked names ("?? ").

    The commit is "none" before the first one, and "unknown" where `repo` is None (an installed package) or no
    repository's root: what lies in somebody else's repository, an unpacked sdist say, has none of its commits.
    """
    below_root = None if repo is None else _git(repo, "rev-parse", "--show-cdup")
    if repo is None or below_root is None or below_root.strip():
        return GitState(commit="unknown", dirty=False, diff="")
    status = _git(repo, "status", "--porcelain") or ""
    commit = _git(repo, "rev-parse", "--verify", "--quiet", "HEAD")
    tracked = _git(repo, "diff", "HEAD") if commit else None
    untracked = [line for line in status.splitlines() if line.startswith("??")]
    diff = (tracked or "") + "".join(line + "\n" for line in untracked)
    return GitState(commit=commit.strip() if commit else "none", dirty=bool(status.strip()), diff=diff)


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """Installed versions of the packages in `names`; those not installed are left out."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def lock_digest(path: Path = LOCK) -> str | None:
    """Which lock file `make setup` installs from: 12 digits of its sha256; None without a lock file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError:
        return None


def validation_line(error: pydantic.ValidationError) -> str:
    """The first complaint of a pydantic error as "field.path: complaint", and how many more there are."""
    complaints = error.errors(include_url=False)
    first = complaints[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return f"{where}: {first['msg']}{more}" if where else f"{first['msg']}{more}"


def _parse(content: bytes, where: str, remedy: str) -> Record:
    try:
        return _RECORD.validate_json(content)
    except pydantic.ValidationError as error:
        complaint = validation_line(error)
    with contextlib.suppress(ValueError):
        plain = json.loads(content)
        if isinstance(plain, dict) and plain.get("schema", SCHEMA) != SCHEMA:
            complaint = f"schema {plain['schema']!r}, this kiti reads {SCHEMA}"
            remedy = "use the kiti that wrote it"
            if plain["schema"] == 1:
                remedy = "scripts/migrate_records.py brings it up to date"
    raise RecordError(f"{where}: {complaint}; {remedy}")


def _git(repo: Path, *arguments: str) -> str | None:
    """Output of a git command in `repo`, None when there is no git, no repository, or the command fails."""
    try:
        done = subprocess.run(["git", "-C", str(repo), *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode(errors="replace")
