"""An encoder from a folder: weights in float32, a head that depends on the seed alone, bad folders in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import text_models
import torch
from safetensors.torch import load_file, save_file
from text_models import SIZES, write_encoder
from transformers import PreTrainedModel

from kiti.models import pretrained_files
from kiti.models.text_classifier import HEADS, build_text_classifier
from kiti.models.text_classifier_keys import CONFIG_NAMES
from kiti.units.keys import FilesError

FAMILIES = sorted(HEADS)
NO_COMMIT = "0" * 40


def build(folder: Path, family: str = "bert", classes: int = 3, **more: object) -> PreTrainedModel:
    return build_text_classifier(family, classes, path=str(folder), **SIZES, **more)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_are_the_folders_in_float32(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder", family, dtype)
    stored = load_file(folder / "model.safetensors")
    model = build(folder, family)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.training
    own = {name.removeprefix(f"{family}."): value for name, value in model.state_dict().items()}
    assert own.keys() - stored.keys() == {f"{layer}.{part}" for layer in head(family) for part in ("weight", "bias")}
    for name, value in stored.items():
        assert value.dtype == dtype
        assert torch.equal(own[name], value.float()), name


def head(family: str) -> list[str]:
    return ["classifier"] if family == "bert" else ["classifier", "pre_classifier"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_head_depends_on_the_seed_alone(family: str, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder", family)
    half = write_encoder(tmp_path / "half", family, torch.bfloat16)
    torch.manual_seed(1)
    first = build(folder, family, seed=4)
    torch.manual_seed(2)
    random_numbers = torch.get_rng_state()
    again = build(half, family, seed=4)
    assert torch.equal(torch.get_rng_state(), random_numbers)
    other = build(folder, family, seed=5)
    for layer in head(family):
        weights = [model.get_submodule(layer).weight for model in (first, again, other)]
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])
        assert float(weights[0].detach().std()) == pytest.approx(first.config.initializer_range, rel=0.25)
        assert not first.get_submodule(layer).bias.any()


def test_a_missing_pooler_is_new_and_said(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    weights = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in weights.items() if "pooler" not in name}, folder / "model.safetensors")
    with pytest.warns(UserWarning, match="has no pooler: a new one is drawn"):
        first = build(folder, seed=4)
    with pytest.warns(UserWarning, match="has no pooler"):
        assert torch.equal(build(folder, seed=4).bert.pooler.dense.weight, first.bert.pooler.dense.weight)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stored_head_is_kept_only_if_asked_for(family: str, tmp_path: Path) -> None:
    folder = tmp_path / "classifier"
    trained = text_models.classifier(family, 3)
    trained.save_pretrained(folder)
    text_models.write_tokenizer(folder)
    kept, replaced = build(folder, family, head="stored"), build(folder, family, head="replaced", seed=1)
    assert torch.equal(kept.classifier.weight, trained.classifier.weight)
    for layer in head(family):
        assert not torch.equal(replaced.get_submodule(layer).weight, trained.get_submodule(layer).weight)
    assert build(folder, family, 5, head="replaced").classifier.weight.shape == (5, 16)
    with pytest.raises(FilesError, match=r"a .*ForSequenceClassification with a head for 3 classes; model.head=stored"):
        build(folder, family)
    with pytest.raises(FilesError, match=r"its head is for 3 classes, the data have 2; model.head=replaced"):
        build(folder, family, 2, head="stored")


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def changed(**config: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config))

    return change


def only_other_weights(folder: Path) -> None:
    save_file({"transformer.h.0.weight": torch.zeros(2)}, folder / "model.safetensors")


def layers_lack(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "layer.1.output" not in name}
    save_file(kept, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "no such folder; give one with config.json, model.safetensors and tokenizer.json, or a name"),
        (without("config.json"), "no config.json; a folder as save_pretrained"),
        (without("tokenizer.json"), "no tokenizer.json or vocab.txt; a folder as save_pretrained"),
        (without("model.safetensors"), "no model.safetensors; a folder as save_pretrained"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: Expecting property name"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"12345678"), "model.safetensors: "),
        (changed(model_type="gpt2"), "a model of type gpt2, and model.family=bert"),
        (changed(hidden_size=32, vocab_size=99), "if they are meant, give model.vocab_size=99 model.width=32"),
        (only_other_weights, "no weights of a bert encoder"),
        (layers_lack, "its weights lack bert.encoder.layer.1.output.LayerNorm, bert.encoder.layer.1.output.dense of a"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_in_one_line(
    spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    folder = write_encoder(tmp_path / "encoder")
    spoil(folder)
    with pytest.raises(FilesError) as error:
        build(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_encoder_where_a_classifier_is_asked_for(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    with pytest.raises(FilesError, match=r"a BertModel has no classifier of texts, and model.head=stored needs one"):
        build(folder, head="stored")


def test_weights_of_a_folder_are_named_by_their_digest(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    with pytest.raises(FilesError, match=r"model.weights is missing; if they are meant, give model.weights=") as error:
        pretrained_files.require_weights(folder, None)
    digest = str(error.value).rpartition("=")[2]
    pretrained_files.require_weights(folder, digest)
    with pytest.raises(FilesError, match="but these weights are others"):
        build(folder, weights="0" * 64)


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.txt"])
def test_a_tokenizer_larger_than_the_embedding(file: str, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    if file == "vocab.txt":
        (folder / "tokenizer.json").unlink()
        (folder / file).write_text("\n".join(text_models.VOCABULARY) + "\n")
    size = len(text_models.VOCABULARY)
    pretrained_files.require_tokens_fit(folder, size)
    with pytest.raises(FilesError, match=rf"tokens up to {size - 1}, but the model's embedding has {size - 1} rows"):
        pretrained_files.require_tokens_fit(folder, size - 1)
    (folder / file).write_text("{}" if file == "tokenizer.json" else "")
    if file == "tokenizer.json":
        with pytest.raises(FilesError, match=r"tokenizer.json: not a tokenizer: KeyError"):
            pretrained_files.require_tokens_fit(folder, size)


def test_without_a_hub_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained_files.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(pretrained_files.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(pretrained_files, "hf_hub_url", lambda *_, **__: "http://127.0.0.1:9/nothing")
    with pytest.raises(FilesError) as error:
        pretrained_files.folder_of("nobody/bert", NO_COMMIT)
    for part in ("not in the cache", "http://127.0.0.1:9 cannot be reached", "config.json, model.safetensors and"):
        assert part in str(error.value)
    assert "fetch_text_stand_ins.py" in str(error.value)
    assert "\n" not in str(error.value)
    monkeypatch.setattr(pretrained_files.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FilesError, match="HF_HUB_OFFLINE is set"):
        pretrained_files.folder_of("nobody/bert", NO_COMMIT)


def test_the_names_of_sizes_are_those_of_transformers() -> None:
    for family in FAMILIES:
        config = text_models.classifier(family, 2).config
        assert {key: getattr(config, name) for key, name in CONFIG_NAMES[family].items()} == SIZES
