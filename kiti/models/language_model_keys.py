"""The keys of `model=gpt2`, `model=qwen2_0_5b` and the other language models."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from kiti.models.text_classifier_keys import Commit, Digest
from kiti.units.keys import ModelKeys, NotHashed, NotRecorded, Place

CONFIG_NAMES = {
    "gpt2": {
        "vocab_size": "vocab_size",
        "positions": "n_positions",
        "width": "n_embd",
        "layers": "n_layer",
        "heads": "n_head",
        "ffn": "n_inner",
    },
    "qwen2": {
        "vocab_size": "vocab_size",
        "positions": "max_position_embeddings",
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "kv_heads": "num_key_value_heads",
        "ffn": "intermediate_size",
    },
}
"""By family: the name in its config.json of each key that is a size."""


class LanguageModelKeys(ModelKeys):
    builds = "kiti.models.language_model.build_language_model"
    name = "language_model"
    kind = "language"
    causal = True
    family: Literal["gpt2", "qwen2"]
    pretrained: str | None
    path: Place[str | None]
    commit: Commit | None
    weights: Digest | None
    from_run: Annotated[str, Field(pattern="^[a-z0-9_]+/[0-9a-f]{12}$")] | None
    vocab_size: PositiveInt
    positions: PositiveInt
    width: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt | None
    ffn: PositiveInt
    rope_theta: PositiveFloat | None
    tied: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]
    residuals: Literal["attention", "mlp", "both"]
    residual_layers: Annotated[list[int], Field(min_length=1)] | None
    attention: NotHashed[Literal["sdpa", "eager"]]
    checkpointing: NotHashed[bool]
    seed: NotRecorded[NonNegativeInt]

    @model_validator(mode="after")
    def _sizes_fit(self) -> "LanguageModelKeys":
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} does not divide width={self.width}")
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError(f"kv_heads={self.kv_heads} does not divide heads={self.heads}")
        return self

    @model_validator(mode="after")
    def _only_qwen2_has_them(self) -> "LanguageModelKeys":
        for key in ("kv_heads", "rope_theta"):
            if (getattr(self, key) is None) != (self.family == "gpt2"):
                needed = "null with" if self.family == "gpt2" else "a number with"
                raise ValueError(f"{key}={getattr(self, key)}: it is {needed} family={self.family}")
        return self

    @model_validator(mode="after")
    def _layers_exist(self) -> "LanguageModelKeys":
        for layer in self.residual_layers or ():
            if not -self.layers <= layer < self.layers:
                raise ValueError(
                    f"residual_layers={self.residual_layers}: layer {layer} of {self.layers} does not exist; "
                    f"they are 0 to {self.layers - 1}, or -1 for the last"
                )
        return self

    @model_validator(mode="after")
    def _weights_are_of_a_folder(self) -> "LanguageModelKeys":
        if self.commit is not None and self.weights is not None:
            raise ValueError("commit and weights exclude each other: a commit names its weights; give weights=null")
        return self

    @model_validator(mode="after")
    def _starts_from_one(self) -> "LanguageModelKeys":
        if self.from_run is not None and (self.commit is not None or self.weights is not None or self.path is None):
            raise ValueError("from_run needs path, the run's directory, and neither commit nor weights")
        return self

    @property
    def sizes(self) -> dict[str, Any]:
        """The sizes that the files of a pretrained model must have."""
        return {key: getattr(self, key) for key in CONFIG_NAMES[self.family]}

    def check_files(self, config: Any) -> None:
        from kiti.models import pretrained_files, run_weights

        if self.from_run is not None:
            run_weights.require_run(Path(str(self.path)), self.from_run, self.seed)
        elif self.path is not None:
            folder = pretrained_files.folder_of(self.path, self.commit)
            pretrained_files.require(folder)
            pretrained_files.require_family(folder, self.family)
            pretrained_files.require_sizes(folder, CONFIG_NAMES[self.family], self.sizes)
            pretrained_files.require_language_model(folder, self.family)
            if self.commit is None:
                pretrained_files.require_weights(folder, self.weights)
        if tokenizer := getattr(config.data, "tokenizer", None):
            commit = getattr(config.data, "tokenizer_commit", None)
            pretrained_files.require_tokens_fit(
                pretrained_files.folder_of(tokenizer, commit, "data.tokenizer"), self.vocab_size
            )
