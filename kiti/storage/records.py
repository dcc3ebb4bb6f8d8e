"""A run's result: `record.json`, written atomically, and its compact, committed form.

A record says what was run (config and its hash, seed, code, versions, data, device) and the results (metrics, costs,
collision diagnostics). Metrics that are not finite are stored as null, so that the file is valid JSON, and read back
as nan: a run that diverged is a result.
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

from kiti.storage.divergence import Divergence

SCHEMA: Literal[2] = 2
FILE_NAME = "record.json"
RUN_AGAIN = "kiti-train and kiti-table --run set it aside and run it again"

_CHECKSUM = "checksum"  # in record.json alone: what is committed is in git

# Beside the package in a checkout; an installed wheel does not contain it.
LOCK = Path(__file__).parents[2] / "requirements.lock"

Number = Annotated[
    float,
    pydantic.BeforeValidator(lambda value: math.nan if value is None else value),
    pydantic.PlainSerializer(lambda value: value if math.isfinite(value) else None, when_used="json"),
]

_CLOSED = pydantic.ConfigDict(extra="forbid")


class RecordError(ValueError):
    """A record that cannot be read or used, in one line: what, where, and a remedy."""


class DamagedRecord(RecordError):
    """A record that is not what its run wrote, or that belongs to another run: to be set aside, not used."""

    def __init__(self, complaint: str, remedy: str) -> None:
        super().__init__(f"{complaint}; {remedy}")
        self.complaint = complaint


@dataclass(frozen=True, config=_CLOSED)
class GitState:
    """The code's commit, whether the tree was `dirty`, and the diff (its sha256 in committed records)."""

    commit: str
    dirty: bool
    diff: str


@dataclass(frozen=True, config=_CLOSED)
class DataState:
    """Which data: sha256 of the `content` and, for computed data, of the `recipe`; and the `split`.

    The last bits of computed content may differ between processors; the recipe does not. `stand_in` describes what
    replaces the paper's data.
    """

    content: str
    split: str
    stand_in: str | None = None
    recipe: str | None = None

    @property
    def identity(self) -> str:
        """Equal for data that may be compared."""
        return self.recipe or self.content


@dataclass(frozen=True, config=_CLOSED)
class Curve:
    """A metric during training: its values after these steps, at most 50."""

    steps: list[int]
    values: list[Number]


@dataclass(frozen=True, kw_only=True, config=_CLOSED)
class Record:
    """One finished run. `config` leaves out the seed and paths; `started` is UTC in ISO 8601.

    When one process trains `replicas` seeds side by side, each has its own record: seconds and samples are its share;
    memory, collisions and ko cover all of them.

    Attributes:
        places: the overrides that set paths, kept only on the machine of the run.
        revisions: of the run's units, part of the hash; for a plug-in, the digest of its sources.
        fingerprint: digest of the source files behind each unit; None: unknown.
        sources: digest of each of these files, kept only on that machine.
        lock: which lock file `make setup` installed from (see `lock_digest`).
        weights: sha256 of the weights file.
        state: `diverged` if a metric is not finite, or training was stopped because something was not.
        divergence: what and where that was; metrics of the trained network are then nan.
        collisions: by module, means over training: `partners` of a particle, `pairs` of a system of `particles`, and
            `energy_ratio`, |v'|² / |v|², also over the first and the last epoch. Older records have only the first and
            the `energy_ratio`.
        implementations: which form of the collision ran, by module.
        counts: of dropped data rows, truncated items, and the like.
        ko: |Δg| / |g| by parameter; ko_pairs: pairs of its neurons that collide in a step, for hard collisions.
        items: name of a file beside the record with a result for each test item.
        dtype: of the weights in training; None: not recorded.
        train_tokens_per_second: of language models, over all ranks; the seconds are `wall_seconds`.
        replicate: distinguishes this run from others of the same hash and seed, for example on another machine.
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
    dtype: str | None = None
    world_size: int
    started: str
    wall_seconds: float
    train_samples_per_second: Number | None
    train_tokens_per_second: Number | None = None
    peak_memory_mib: Number | None
    parameters: int
    flops_per_sample: Number | None
    state: Literal["finished", "diverged"] = "finished"
    divergence: Divergence | None = None
    metrics: dict[str, Number]
    curves: dict[str, Curve] | None = None
    collisions: dict[str, dict[str, Number]] | None = None
    implementations: dict[str, str] | None = None
    ko: dict[str, Number] | None = None
    ko_pairs: dict[str, Number] | None = None
    replicas: int = 1
    weights: str | None = None
    counts: dict[str, int] | None = None
    items: str | None = None
    replicate: str | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        """Unique for each record."""
        return self.config_hash, self.seed, self.replicate or ""


_RECORD = pydantic.TypeAdapter(Record)


def write(record: Record, run_dir: Path) -> Path:
    """Write `run_dir/record.json` atomically, with a checksum of its content, and return its path."""
    path = run_dir / FILE_NAME
    plain = json.loads(_RECORD.dump_json(record))
    plain[_CHECKSUM] = _checksum(plain)
    write_whole(path, json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    return path


def read(path: Path) -> Record:
    """The record at `path`.

    Raises RecordError if it is unreadable or of another schema; DamagedRecord if it is not a record, or not what was
    written. Records that were written before there were checksums have none to compare.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"record {path}: {error.strerror}") from None
    where, remedy = f"record {path}", RUN_AGAIN
    plain: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        plain = json.loads(content)
    found = plain.pop(_CHECKSUM, None) if isinstance(plain, dict) else None
    record = _parse(content if found is None else json.dumps(plain).encode(), where, remedy)
    if found is not None and found != _checksum(plain):
        raise DamagedRecord(f"{where}: edited or damaged, its checksum differs", remedy)
    return record


def compact(record: Record) -> str:
    """The record as one JSON line to commit: with the diff's sha256, and without machine-specific fields."""
    diff = record.git.diff
    if diff and not diff.startswith("sha256:"):
        diff = "sha256:" + hashlib.sha256(diff.encode()).hexdigest()
    portable = replace(record, git=replace(record.git, diff=diff), sources=None, places=None)
    plain = _RECORD.dump_python(portable, mode="json", exclude_defaults=True) | {"schema": SCHEMA}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def read_lines(path: Path, config_hash: str = "") -> list[Record]:
    """The records of a committed .jsonl file, or those of one configuration, without parsing the others.

    Raises RecordError, which names the invalid line.
    """
    with path.open("rb") as lines:
        return [
            _parse(line, f"{path}:{n}", "restore the file from git")
            for n, line in enumerate(lines, 1)
            if line.strip() and config_hash.encode() in line
        ]


def publish(records: Iterable[Record], path: Path) -> None:
    """Merge `records` into the committed file at `path`, one line per key; newer records win.

    Lines of one configuration are similar, and git compresses them ten to one, so they are not compressed here.
    """
    merged = {record.key: record for record in (read_lines(path) if path.exists() else [])}
    merged |= {record.key: record for record in records}
    write_whole(path, "".join(compact(merged[key]) + "\n" for key in sorted(merged)).encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: neither a reader nor a crash leaves a partial file."""
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
    folder = os.open(path.parent, os.O_RDONLY)  # the rename is durable only after an fsync of the folder
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def git_state(repo: Path | None) -> GitState:
    """Commit of `repo` and its local changes: the diff of tracked files, then untracked names ("?? ").

    The commit is "none" before the first one, and "unknown" if `repo` is None (an installed package) or not the root
    of a repository, such as an sdist unpacked inside another repository.
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
    """Identifies the lock file that `make setup` installs from: 12 digits of its sha256, or None without one."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError:
        return None


def validation_line(error: pydantic.ValidationError) -> str:
    """The first of a pydantic error's complaints as "field.path: complaint", and the number of others."""
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
    raise DamagedRecord(f"{where}: {complaint}", remedy)


def _checksum(plain: dict[str, Any]) -> str:
    """sha256 of the values, in any layout of the file."""
    canonical = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()


def _git(repo: Path, *arguments: str) -> str | None:
    """Output of a git command in `repo`; None if there is no git or no repository, or the command fails."""
    try:
        done = subprocess.run(["git", "-C", str(repo), *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode(errors="replace")
