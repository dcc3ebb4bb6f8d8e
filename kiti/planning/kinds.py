"""Which configurations take the same step. Without torch."""

import json
from typing import Any, NamedTuple

from kiti.configuration.compose import Composed
from kiti.units.sample_shapes import Sample


class Kind(NamedTuple):
    """Configurations with the same `step` cost the same a step; those with the same `network` cost the same a test."""

    network: str
    step: str


def kind_of(composed: Composed) -> Kind:
    """The kind of a configuration whose data declare their samples."""
    config = composed.config
    trainer = {**config["trainer"], "max_epochs": None}
    samples = [sample_of(composed, training) for training in (True, False)]
    network = [config["model"], config["task"], trainer, samples, composed.checked.data.batch_size]
    residual = {**config["residual"], "coll_coef": None}
    optimizer = {key: value for key, value in config["optimizer"].items() if key != "fused"}  # it takes no other memory
    return Kind(_text(network), _text([network, residual, config["averaging"], optimizer]))


def sample_of(composed: Composed, training: bool) -> Sample:
    """A sample of data that declare it."""
    sample = composed.checked.data.sample(training)
    assert sample is not None
    return sample


def _text(parts: Any) -> str:
    return json.dumps(parts, sort_keys=True)
