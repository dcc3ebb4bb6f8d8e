"""The keys of `task=text_classification`."""

import inspect
from typing import Any

from pydantic import PositiveInt

from kiti.units.keys import Fraction, PrimaryMetric, TaskKeys


class TextClassificationKeys(TaskKeys):
    builds = "kiti.tasks.text_classification.TextClassification"
    name = "text_classification"
    classes: PositiveInt
    label_smoothing: Fraction = 0.0
    kind = "texts"
    metric = PrimaryMetric("test/accuracy", "test accuracy (%)", higher_is_better=True)

    def outputs(self, model: Any, batch: tuple[Any, ...]) -> Any:
        tokens, _, *segments = model_inputs(model, batch)
        return model(tokens, None, *segments).logits  # transformers looks into a mask, and a plan has no values


def model_inputs(model: Any, batch: tuple[Any, ...]) -> tuple[Any, ...]:
    """The tensors of a batch that the model takes: tokens, mask and, for models with segments, these."""
    return batch[:3] if "token_type_ids" in inspect.signature(model.forward).parameters else batch[:2]
