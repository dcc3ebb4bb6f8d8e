"""Shapes are checked types: under pytest every jaxtyping annotation in kiti is enforced by beartype."""

import os

from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two xdist workers on two cores; read when torch is imported

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when kernels are defined: without a GPU they run on CPU tensors

# The numeric tower: where a float is asked for, YAML's `10` will do.
install_import_hook("kiti", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
