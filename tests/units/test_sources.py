"""What a fingerprint covers: code, but not comments, layout or the Python version."""

from pathlib import Path

import pytest

from kiti.units import plugins
from kiti.units.sources import digest, file_digest, files_of, source_digest

SOURCE = '''"""A module."""
import math

NAMES = {"a": 1, **{}}


class Net:
    """A net."""

    def forward(self, x: float, *rest: int) -> str:
        """Docstring."""
        return f"{x!r:>{10}} {self.name}" "tail" if x else None
'''
SAME = """
import math  # a comment
NAMES = {'a': 1,
         **{}}
class Net:
    def forward(self, x: float, *rest: int) -> str:
        # another
        return (f"{x!r:>{10}} {self.name}tail" if (x) else None)
"""


def test_comments_docstrings_and_layout_do_not_count() -> None:
    assert source_digest(SAME) == source_digest(SOURCE)


@pytest.mark.parametrize(
    ("before", "after"), [('"a": 1', '"a": 2'), ("!r", "!s"), ("None", "0"), ("x: float", "x: int")]
)
def test_any_code_change_counts(before: str, after: str) -> None:
    assert source_digest(SOURCE.replace(before, after)) != source_digest(SOURCE)


def test_the_digest_is_the_same_on_every_python_version() -> None:
    """Python 3.11 to 3.13 parse f-strings, type parameters and defaults differently; the digest must not move."""
    assert source_digest(SOURCE) == "68236a6e03d2"


def test_the_files_of_a_unit_are_those_it_imports() -> None:
    data = files_of("kiti.data.burgers.BurgersData")
    assert {"kiti.data.burgers", "kiti.pde.burgers_solver", "kiti.pde.gaussian_field"} <= set(data)
    assert not any(name.startswith(("kiti.configuration", "kiti.storage", "kiti.units")) for name in data)
    residual = files_of("kiti.residual.KITIResidual")
    assert {"kiti.collision.literal", "kiti.collision.cpu.numba_backend", "kiti.collision.gpu.triton_kernels"} <= set(
        residual
    )
    assert not any("burgers" in name for name in residual)
    assert files_of("torch.optim.Adam") == {}


def test_the_files_of_a_plug_in_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("from .net import Net\n")
    (package / "net.py").write_text("from mine.parts import part\nimport torch\nclass Net: pass\n")
    (package / "parts.py").write_text("part = 1\n")
    (package / "unused.py").write_text("")
    monkeypatch.setenv(plugins.VARIABLE, str(package))
    files = files_of("mine.net.Net")
    assert set(files) == {"mine.net", "mine.parts"}
    before, part = digest(files), file_digest(files["mine.parts"])
    (package / "parts.py").write_text("part = 2\n")
    assert file_digest(files["mine.parts"]) != part
    assert digest(files) != before
