"""Small encoders and their tokenizer in a folder, as save_pretrained writes them."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from kiti.models.text_classifier_keys import CONFIG_NAMES

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["good", "bad", "film", "play", "a", "the", "light", "on", "off", "very", "not", "is", "was", "it"]
VOCABULARY = list(
    dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *LETTERS, *(f"##{each}" for each in LETTERS)])
)
SIZES = {"vocab_size": 80, "width": 16, "layers": 2, "heads": 2, "ffn": 32, "positions": 32}
_MADE = {
    "bert": (BertConfig, BertModel, BertForSequenceClassification),
    "distilbert": (DistilBertConfig, DistilBertModel, DistilBertForSequenceClassification),
}


def sizes(family: str) -> dict[str, int]:
    """SIZES by transformers' names."""
    return {CONFIG_NAMES[family][key]: size for key, size in SIZES.items()}


def classifier(family: str, classes: int) -> PreTrainedModel:
    config, _, made = _MADE[family]
    return made(config(**sizes(family), num_labels=classes))


def write_tokenizer(folder: Path, family: str = "bert") -> None:
    made = Tokenizer(WordPiece({token: place for place, token in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    made.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    named = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    segments = ["token_type_ids"] if family == "bert" else []
    names = ["input_ids", *segments, "attention_mask"]
    made_fast = PreTrainedTokenizerFast(tokenizer_object=made, mask_token="[MASK]", model_input_names=names, **named)
    made_fast.save_pretrained(folder)


def write_encoder(folder: Path, family: str = "bert", dtype: torch.dtype = torch.float32, seed: int = 0) -> Path:
    """An untrained encoder without a head, with its tokenizer."""
    config, made, _ = _MADE[family]
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        encoder = made(config(**sizes(family)))
    encoder.to(dtype).save_pretrained(folder)
    write_tokenizer(folder, family)
    return folder
