"""The keys of `model=bert_base_cased` and the other classifiers of texts."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from kiti.units.keys import ModelKeys, NotRecorded, Place

Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
CONFIG_NAMES = {
    "bert": {
        "vocab_size": "vocab_size",
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
        "positions": "max_position_embeddings",
    },
    "distilbert": {
        "vocab_size": "vocab_size",
        "width": "dim",
        "layers": "n_layers",
        "heads": "n_heads",
        "ffn": "hidden_dim",
        "positions": "max_position_embeddings",
    },
}
"""By family: the name in its config.json of each key that is a size."""


class TextClassifierKeys(ModelKeys):
    builds = "kiti.models.text_classifier.build_text_classifier"
    name = "text_classifier"
    kind = "texts"
    sizes_vary = True
    family: Literal["bert", "distilbert"]
    encoder: str
    path: Place[str | None]
    commit: Commit | None
    weights: Digest | None
    vocab_size: PositiveInt
    width: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    ffn: PositiveInt
    positions: PositiveInt
    num_classes: Annotated[int, Field(ge=2)]
    residuals: Literal["both", "attention", "ffn"]
    head: Literal["new", "stored", "replaced"]
    seed: NotRecorded[NonNegativeInt]

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "TextClassifierKeys":
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} does not divide width={self.width}")
        return self

    @model_validator(mode="after")
    def _weights_are_of_a_folder(self) -> "TextClassifierKeys":
        if self.commit is not None and self.weights is not None:
            raise ValueError("commit and weights exclude each other: a commit names its weights; give weights=null")
        return self

    def check_files(self, config: Any) -> None:
        """The encoder and the data's tokenizer."""
        from kiti.models import pretrained_files

        if self.path is not None:
            folder = pretrained_files.folder_of(self.path, self.commit)
            pretrained_files.require(folder)
            pretrained_files.require_family(folder, self.family)
            pretrained_files.require_sizes(folder, CONFIG_NAMES[self.family], self.model_dump())
            pretrained_files.require_head(folder, self.family, self.head, self.num_classes)
            if self.commit is None:
                pretrained_files.require_weights(folder, self.weights)
        if tokenizer := getattr(config.data, "tokenizer", None):
            commit = getattr(config.data, "tokenizer_commit", None)
            pretrained_files.require_tokens_fit(
                pretrained_files.folder_of(tokenizer, commit, "data.tokenizer"), self.vocab_size
            )
