"""Writes a finished run's weights as those of a stock model, after comparing the two models' outputs."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from transformers import PreTrainedModel

from kiti.configuration.compose import Composed
from kiti.data.small_images import SmallImages
from kiti.exporting.model_card import WEIGHTS_OF, model_card
from kiti.exporting.stock_models import Library, NotStock, Stock, require_addition, stock
from kiti.models.pretrained_files import CONFIG, NAMES, WEIGHTS, folder_of
from kiti.storage.records import Record
from kiti.training import building

Moments = tuple[list[float], list[float]]

_TOKENS = 16
_PIXELS = 64  # of the images that the outputs are compared on; ConvNeXt needs a multiple of 32


def export(run_dir: Path, record: Record, composed: Composed, library: Library, place: Path) -> Path:
    """Write weights and README.md into `place`, which must not exist or be empty; all of it or nothing.

    Raises:
        NotStock: no model of `library` has these weights or these outputs, or `place` holds something.
        RecordError: the weights do not fit the model.
        DataError: how images are normalised follows from the data, and they are not available.
    """
    place = place.absolute()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise NotStock(f"{place} exists and is not an empty directory; choose another")
    found = stock(composed.checked.model, library)
    trained = building.model(composed)
    require_addition(trained, composed.checked.residual.name)
    building.load_weights(trained, record, run_dir)
    weights = {name: tensor.detach().contiguous() for name, tensor in trained.state_dict().items()}
    if isinstance(trained, PreTrainedModel):
        found = replace(found, arguments=_configuration(trained))
    model = _with_same_outputs(trained, found, weights)
    data = record.config["data"]
    moments = None if isinstance(model, PreTrainedModel) else _normalisation(composed)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        if isinstance(model, PreTrainedModel):
            model.save_pretrained(partial)
            _copy_tokenizer(composed, partial)
        elif library == "timm":
            save_file(weights, partial / WEIGHTS_OF["timm"], metadata={"format": "pt"})
            (partial / "config.json").write_text(json.dumps(_timm_config(found, data, moments), indent=2) + "\n")
        else:
            torch.save(weights, partial / WEIGHTS_OF["torchvision"])
        (partial / "README.md").write_text(model_card(record, found, _inputs(moments, data)))
        os.replace(partial, place)  # replaces an empty directory
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return place


def _with_same_outputs(trained: nn.Module, found: Stock, weights: dict[str, Tensor]) -> nn.Module:
    """The stock model with the weights. NotStock if it does not load them, or gives other outputs."""
    model = found.build()
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise NotStock(f"{found.call} does not load these weights: {reason}") from error
    with torch.inference_mode():
        ours, theirs = (_outputs(each.eval()) for each in (trained, model))
    if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5, equal_nan=True):
        largest = (ours - theirs).abs().max()
        raise NotStock(f"{found.call} with these weights gives other outputs, by up to {largest:.2g}")
    return model


def _outputs(model: nn.Module) -> Tensor:
    """Of images or texts drawn at random."""
    draw = torch.Generator().manual_seed(0)
    if isinstance(model, PreTrainedModel):
        length = min(_TOKENS, model.config.max_position_embeddings)
        return model(torch.randint(model.config.vocab_size, (2, length), generator=draw)).logits  # type: ignore[no-any-return]
    return model(torch.randn(2, 3, _PIXELS, _PIXELS, generator=draw))  # type: ignore[no-any-return]


def _configuration(model: PreTrainedModel) -> dict[str, Any]:
    """What its configuration says beyond the defaults, without where it was loaded from."""
    said = model.config.to_diff_dict()
    return {key: value for key, value in said.items() if key not in ("_name_or_path", "transformers_version", "dtype")}


def _copy_tokenizer(composed: Composed, place: Path) -> None:
    folder = folder_of(composed.node.data.tokenizer, composed.node.data.tokenizer_commit)
    for name in NAMES:
        if name not in (CONFIG, WEIGHTS) and (folder / name).is_file():
            shutil.copyfile(folder / name, place / name)


def _normalisation(composed: Composed) -> Moments | None:
    """Mean and standard deviation that images in [0, 1] are normalised by; None for a data set that does not say."""
    if hasattr(composed.checked.data, "crop_pct"):  # through timm's transforms
        return [*IMAGENET_DEFAULT_MEAN], [*IMAGENET_DEFAULT_STD]
    data = building.data(composed)
    if not isinstance(data, SmallImages):
        return None
    data.prepare_data()
    return data.normalisation


def _inputs(moments: Moments | None, data: Mapping[str, Any]) -> str:
    if "max_length" in data:
        return f"texts, or pairs of texts, by the tokenizer beside, truncated at {data['max_length']} tokens"
    if "context" in data:
        return f"texts by the tokenizer beside, at most {data['context']} tokens at a time"
    if moments is None:
        return f"as the data set {data['unit']} prepares them"
    mean, std = ("(" + ", ".join(f"{value:.6f}" for value in values) + ")" for values in moments)
    return f"RGB in [0, 1], minus the mean {mean}, divided by {std}"


def _timm_config(found: Stock, data: Mapping[str, Any], moments: Moments | None) -> dict[str, Any]:
    """config.json as timm reads it from a directory."""
    arguments = dict(found.arguments)
    classes = arguments.pop("num_classes")
    side = data.get("test_resolution") or data.get("resolution") or 32  # the small images' side
    prepared = {"input_size": [3, side, side], "fixed_input_size": False, "num_classes": classes}
    if moments is not None:
        prepared |= {"mean": moments[0], "std": moments[1]}
    if "crop_pct" in data:
        prepared |= {"crop_pct": data["crop_pct"], "interpolation": data["interpolation"]}
    return {"architecture": found.name, "num_classes": classes, "model_args": arguments, "pretrained_cfg": prepared}
