"""What `import kiti` offers: names, signatures, documentation with examples that run."""

import doctest
import importlib
import inspect
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import kiti

ROOT = Path(__file__).parents[1]
FIVE_LINES = """\
    model = timm.create_model("vit_tiny_patch16_224")
    kiti.open_seam(model, branch="blocks.*.attn", shortcut="blocks.*.norm1", residual=kiti.KITIResidual)
    kiti.calibrate(model, batch, pairs=1)
    ko = kiti.KO(optimizer, kiti.matrices(model), mode="soft", coll_coef=0.0005)
    print(kiti.statistics(model), ko)
"""
EVERY_NAME = pytest.mark.parametrize("name", kiti.__all__)


def test_dir_and_help_show_the_public_names() -> None:
    assert set(kiti.__all__) <= set(dir(kiti))
    assert kiti.__doc__.index(FIVE_LINES) < 200
    text = pydoc.render_doc(kiti, renderer=pydoc.plaintext)
    for name in kiti.__all__:
        assert name in kiti.__doc__, name
        assert name in text, name


@EVERY_NAME
def test_signatures_name_every_argument(name: str) -> None:
    parameters = inspect.signature(getattr(kiti, name)).parameters.values()
    assert not [str(one) for one in parameters if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]


@EVERY_NAME
def test_documentation_has_an_example_that_runs(name: str) -> None:
    public = getattr(kiti, name)
    examples = doctest.DocTestFinder(recurse=False).find(public, name, globs={})
    assert any(one.examples for one in examples), name
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for one in examples:
        assert runner.run(one).failed == 0


def test_importing_the_command_keeps_the_function() -> None:
    code = "import kiti, kiti.calibrate; assert kiti.calibrate.__name__ == 'calibrate' and callable(kiti.calibrate)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_minimal_example_is_short_and_beats_chance() -> None:
    example = ROOT / "examples" / "minimal.py"
    assert len(example.read_text().splitlines()) <= 60
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, check=True)
    accuracy = float(done.stdout.split("test accuracy ")[1].split(",")[0])
    assert accuracy > 0.8
    assert "pairs a system" in done.stdout


def test_every_module_imports() -> None:
    for path in sorted((ROOT / "kiti").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if "triton" not in module:
            importlib.import_module(module)
    assert callable(kiti.calibrate)
