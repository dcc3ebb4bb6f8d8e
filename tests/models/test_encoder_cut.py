"""The cut of a BERT to its first layers gives these layers' features, as a DistilBERT that transformers loads."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from text_models import SIZES, write_encoder
from transformers import AutoModel, AutoTokenizer, BertModel, DistilBertModel

from kiti.models.encoder_cut import write_first_layers
from kiti.models.pretrained_files import sha256
from kiti.models.text_classifier import build_text_classifier
from kiti.units.keys import FilesError

TOKENS = torch.randint(5, 60, (4, 12), generator=torch.Generator().manual_seed(1))
MASK = (torch.arange(12) < torch.tensor([[12], [7], [9], [12]])).long()


@pytest.mark.parametrize("layers", [1, 2])
def test_the_first_layers_features_are_the_encoders(layers: int, tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder")
    digest = write_first_layers(encoder, tmp_path / "cut", layers)
    assert digest == sha256(tmp_path / "cut" / "model.safetensors")
    cut, report = AutoModel.from_pretrained(tmp_path / "cut", output_loading_info=True)
    assert isinstance(cut, DistilBertModel)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    whole = BertModel.from_pretrained(encoder)
    with torch.inference_mode():
        expected = whole(TOKENS, attention_mask=MASK, output_hidden_states=True).hidden_states[layers]
        found = cut(TOKENS, attention_mask=MASK).last_hidden_state
    attended = MASK.bool()
    torch.testing.assert_close(found[attended], expected[attended])
    assert AutoTokenizer.from_pretrained(tmp_path / "cut")("a good film") == AutoTokenizer.from_pretrained(encoder)(
        "a good film"
    )


def test_the_same_encoder_gives_the_same_file(tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder")
    assert write_first_layers(encoder, tmp_path / "a", 1) == write_first_layers(encoder, tmp_path / "b", 1)
    assert load_file(tmp_path / "a" / "model.safetensors").keys()
    assert (tmp_path / "a" / "config.json").read_bytes() == (tmp_path / "b" / "config.json").read_bytes()


def test_a_classifier_is_built_from_it(tmp_path: Path) -> None:
    write_first_layers(write_encoder(tmp_path / "encoder"), tmp_path / "cut", 1)
    model = build_text_classifier("distilbert", 7, path=str(tmp_path / "cut"), **SIZES | {"layers": 1})
    assert model(TOKENS, MASK).logits.shape == (4, 7)


def test_what_cannot_be_cut_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    encoder, other = write_encoder(tmp_path / "encoder"), write_encoder(tmp_path / "other", "distilbert")
    with pytest.raises(FilesError, match="2 layers; 3 cannot be cut"):
        write_first_layers(encoder, tmp_path / "cut", 3)
    with pytest.raises(FilesError, match="a model of type distilbert"):
        write_first_layers(other, tmp_path / "cut", 1)
    with pytest.raises(FileExistsError):
        write_first_layers(encoder, other, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder", "other"]
