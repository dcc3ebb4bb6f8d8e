"""The keys of `task=language_modelling`."""

from typing import Any, Literal

from kiti.units.keys import PrimaryMetric, TaskKeys


class LanguageModellingKeys(TaskKeys):
    builds = "kiti.tasks.language_modelling.LanguageModelling"
    name = "language_modelling"
    kind = "language"
    metric = PrimaryMetric("test/loss", "test loss (nats per token)")
    documents: Literal["joined", "isolated"]
    decay_vectors: bool

    def outputs(self, model: Any, batch: tuple[Any, ...]) -> Any:
        # A mask, because without one transformers looks into the positions, and a plan has no values.
        length = batch[0].shape[1]
        mask = batch[0].new_ones((1, 1, length, length)).bool().tril()
        return model(input_ids=batch[0], attention_mask=mask, use_cache=False).logits
