"""Shapes are checked types: under pytest every jaxtyping annotation in kiti is enforced by beartype."""

import os

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two xdist workers on two cores; read when torch is imported

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when kernels are defined: without a GPU they run on CPU tensors

# The numeric tower: YAML's `10` is accepted where a float is expected.
install_import_hook("kiti", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")


# kiti is imported inside the fixtures: most tests do not need it, and the hook must come first.


@pytest.fixture
def runs_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("KITI_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def experiments(tmp_path):
    """A folder of one paper, with a table and a figure; modules that test other sheets define their own."""
    from table_cases import FIGURE, TABLE, folder_of

    return folder_of(tmp_path, t=TABLE, f=FIGURE)


@pytest.fixture
def command(experiments, capsys):
    """kiti-table in this process: its exit status, stdout and stderr."""
    from kiti.cli.table_command import main

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_info:
            main([*arguments, "--experiments", str(experiments)])
        captured = capsys.readouterr()
        return exit_info.value.code, captured.out, captured.err

    return run
