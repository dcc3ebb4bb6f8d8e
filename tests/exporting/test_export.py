"""What is exported loads in the stock library, without kiti, and gives kiti's own outputs."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import language_sets
import pytest
import torch
from record_cases import make_record
from safetensors.torch import load_file, save_file
from text_models import SIZES, write_encoder

from kiti.cli import export_command
from kiti.configuration import identity
from kiti.configuration.compose import Composed, compose
from kiti.data.small_images import SmallImages
from kiti.exporting.exporter import export
from kiti.exporting.stock_models import NotStock
from kiti.models.tied_weights import stored_once
from kiti.storage import records
from kiti.storage.records import DataState, Record, RecordError
from kiti.storage.weights_file import WEIGHTS, sha256
from kiti.training import building

RESNET = ("experiment=imagenet_resnet50", "scale=smoke", "model.channels_last=false", "model.width=1.0")
CIFAR = ("experiment=cifar_kitinet", "scale=smoke", *RESNET[2:], "model.depth=34", "model.stem=imagenet")
CONVNEXT = ("experiment=imagenet_convnext_tiny", "scale=smoke")
# Run in a process that cannot import kiti, which this environment has installed in editable form.
ALONE = """
import sys

class NoKiti:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "kiti":
            raise ModuleNotFoundError("no kiti here")

sys.meta_path.insert(0, NoKiti())
try:
    import kiti
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("kiti can be imported")
import torch
from safetensors.torch import load_file, save_file
"""
LOADS = {
    "torchvision": """
        import torchvision
        model = torchvision.models.{name}(num_classes={classes})
        model.load_state_dict(torch.load("model.pth", weights_only=True))
        """,
    "timm": """
        import timm
        model = timm.create_model("local-dir:.", pretrained=True)
        """,
}
# Texts in the place of images.
TEXTS = """
from transformers import AutoModelForSequenceClassification, AutoTokenizer
texts = AutoTokenizer.from_pretrained(".")(["a good film", "it was very bad"], padding=True, return_tensors="pt")
model = AutoModelForSequenceClassification.from_pretrained(".")
with torch.inference_mode(): logits = model(**texts).logits
"""


def finished(place: Path, *overrides: str) -> tuple[Path, Record, Composed]:
    """A run directory with random weights and running statistics, as if this configuration had been trained."""
    composed = compose([*overrides, f"runs_dir={place}/runs"])
    run_dir = composed.run_dir
    run_dir.mkdir(parents=True)
    torch.manual_seed(0)
    model = building.model(composed)
    state = {
        name: torch.rand_like(value) + 0.5 if name.endswith(("running_mean", "running_var")) else value
        for name, value in stored_once(model).items()
    }
    save_file({name: value.contiguous() for name, value in state.items()}, run_dir / WEIGHTS)
    record = make_record(
        composed.seed,
        experiment=composed.experiment,
        scale=composed.scale,
        config_hash=composed.hash,
        config=composed.config,
        revisions=identity.revisions(composed.checked),
        overrides=[*overrides],
        metrics={"test/top1_error": 0.25, "train/top1_error": 0.125},
        data=DataState(content="d" * 64, split="train 18, test 9", stand_in="coloured squares for ImageNet"),
        weights=sha256(run_dir / WEIGHTS),
    )
    records.write(record, run_dir)
    return run_dir, record, composed


def logits_of(composed: Composed, record: Record, run_dir: Path, images: torch.Tensor) -> torch.Tensor:
    model = building.model(composed).eval()
    building.load_weights(model, record, run_dir)
    with torch.inference_mode():
        return model(images)


@pytest.mark.parametrize(
    ("overrides", "library", "name"),
    [
        ((*RESNET, "residual=kiti"), "torchvision", "resnet18"),
        pytest.param((*RESNET, "model.depth=50", "model.blocks=last"), "timm", "resnet50", marks=pytest.mark.slow),
        ((*CONVNEXT, "residual=kiti", "model.layer_scale=0.5"), "timm", "convnext_tiny"),
        pytest.param(CIFAR, "torchvision", "resnet34", marks=pytest.mark.slow),
    ],
)
def test_it_loads_without_kiti_and_gives_the_same_logits(
    overrides: tuple[str, ...], library: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The images, whose moments normalise them, need not be on this machine.
    monkeypatch.setattr(SmallImages, "prepare_data", lambda data: None)
    monkeypatch.setattr(SmallImages, "normalisation", ([0.5] * 3, [0.25] * 3))
    run_dir, record, composed = finished(tmp_path, *overrides)
    place = export(run_dir, record, composed, library, tmp_path / "exported")
    images = torch.randn(2, 3, 64, 64)
    save_file({"images": images}, tmp_path / "images")
    depth = composed.config["model"].get("depth")
    load = LOADS[library].format(name=f"resnet{depth}", classes=composed.config["model"]["num_classes"])
    code = ALONE + textwrap.dedent(load)
    code += f"images = load_file({str(tmp_path / 'images')!r})['images']\n"
    code += "with torch.inference_mode(): logits = model.eval()(images)\n"
    code += f"save_file({{'logits': logits}}, {str(tmp_path / 'logits')!r})\n"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    theirs = load_file(tmp_path / "logits")["logits"]
    assert torch.equal(theirs, logits_of(composed, record, run_dir, images))
    assert theirs.std() > 0

    card = (place / "README.md").read_text()
    assert name in card
    for part in (
        composed.hash,
        "coloured squares",
        "smoke: ",
        "| test/top1_error | 0.25 | 9 |",
        "model 1",
        "| seed | 0,",
    ):
        assert part in card, part
    assert sorted(path.name for path in place.parent.iterdir() if path.name.startswith(".exp")) == []


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_classifier_of_texts_loads_by_from_pretrained_without_kiti(family: str, tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder", family)
    sizes = [f"model.{key}={size}" for key, size in SIZES.items()]
    option = {"bert": "minilm", "distilbert": "minilm_3"}[family]
    run = ["experiment=bert_movie_reviews", "scale=smoke", f"model={option}", "residual=kiti", *sizes]
    run += [f"model.path={encoder}", f"model.weights={sha256(encoder / 'model.safetensors')}"]
    run_dir, record, composed = finished(tmp_path, *run)
    place = export(run_dir, record, composed, "transformers", tmp_path / "exported")
    code = ALONE + TEXTS + f"save_file({{**texts, 'logits': logits}}, {str(tmp_path / 'logits')!r})\n"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = load_file(tmp_path / "logits")
    assert load_file(place / "model.safetensors").keys() == load_file(run_dir / WEIGHTS).keys()
    model = building.model(composed).eval()
    building.load_weights(model, record, run_dir)
    with torch.inference_mode():
        expected = model(found["input_ids"], found["attention_mask"]).logits
    assert torch.equal(found["logits"], expected)
    assert found["logits"].std() > 0
    assert str(tmp_path) not in (place / "config.json").read_text()
    card = (place / "README.md").read_text()
    assert 'AutoModelForSequenceClassification.from_pretrained(".")' in card
    assert "truncated at 24 tokens" in card
    with pytest.raises(NotStock, match=r"model=text_classifier is transformers', not timm's; use --to transformers"):
        export(run_dir, record, composed, "timm", tmp_path / "other")


LANGUAGE = """
from transformers import AutoModelForCausalLM
tokens = torch.arange(12)[None]
model = AutoModelForCausalLM.from_pretrained(".")
assert model.lm_head.weight is model.get_input_embeddings().weight
with torch.inference_mode(): logits = model(tokens).logits
written = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=4, do_sample=False)
"""


@pytest.mark.parametrize("experiment", ["gpt2_stand_ins", "qwen2_stand_ins"])
def test_a_language_model_loads_and_writes_without_kiti(experiment: str, tmp_path: Path) -> None:
    run_dir, record, composed = finished(
        tmp_path,
        *(f"experiment={experiment}", "scale=smoke", "residual=kiti"),
        *language_sets.prepared(experiment, tmp_path / "files"),
    )
    place = export(run_dir, record, composed, "transformers", tmp_path / "exported")
    code = ALONE + LANGUAGE + f"save_file({{'logits': logits, 'written': written}}, {str(tmp_path / 'out')!r})\n"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = load_file(tmp_path / "out")
    model = building.model(composed).eval()
    building.load_weights(model, record, run_dir)
    with torch.inference_mode():
        expected = model(torch.arange(12)[None]).logits
    assert torch.equal(found["logits"], expected)
    assert found["written"].shape == (1, 16)
    assert "lm_head.weight" not in load_file(place / "model.safetensors")
    assert 'AutoModelForCausalLM.from_pretrained(".")' in (place / "README.md").read_text()


def test_timms_configuration_has_the_size_and_the_normalisation(tmp_path: Path) -> None:
    run_dir, record, composed = finished(tmp_path, *CONVNEXT)
    place = export(run_dir, record, composed, "timm", tmp_path / "exported")
    stored = json.loads((place / "config.json").read_text())
    assert stored["pretrained_cfg"]["mean"] == [0.485, 0.456, 0.406]
    assert stored["num_classes"] == composed.config["model"]["num_classes"]


@pytest.mark.parametrize(
    ("overrides", "library", "reason"),
    [
        (("experiment=burgers", "scale=smoke"), "timm", "model=fno1d is in no such library; what can be exported is"),
        ((*RESNET, "model.stem=cifar"), "torchvision", "model.stem=cifar: a ResNet of torchvision begins with"),
        ((*RESNET[:3], "model.width=0.5"), "timm", "model.width=0.5: "),
        ((*RESNET, "model.head=[16]"), "timm", "model.head=[16]: "),
        (CONVNEXT, "torchvision", "use --to timm"),
        (CONVNEXT, "transformers", "use --to timm"),
        (RESNET, "transformers", "use --to torchvision or --to timm"),
        ((*RESNET, "residual=kiti_acceleration", "residual.drift_in_eval=true"), "timm", "(drift_in_eval=true, at"),
        ((*RESNET, "residual=kiti", "residual.dt=0.5"), "torchvision", "residual=kiti stays on at inference (dt=0.5"),
        ((*RESNET, "residual=add", "residual.dt=0.5"), "torchvision", "residual=add stays on at inference (dt=0.5"),
    ],
)
def test_what_is_not_stock_is_refused_with_the_reason(
    overrides: tuple[str, ...], library: str, reason: str, tmp_path: Path
) -> None:
    run_dir, record, composed = finished(tmp_path, *overrides)
    with pytest.raises(NotStock) as error:
        export(run_dir, record, composed, library, tmp_path / "exported")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "exported").exists()


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    run_dir, record, composed = finished(tmp_path, "experiment=burgers", "scale=smoke")
    tensors = load_file(run_dir / WEIGHTS)
    first, *_ = tensors
    tensors["_orig_mod.x"] = tensors.pop(first)
    tensors["fc1.bias"] = torch.zeros(3)
    save_file(tensors, run_dir / WEIGHTS)
    unchecked = make_record(weights=None)
    with pytest.raises(RecordError) as error:
        building.load_weights(building.model(composed), unchecked, run_dir)
    for part in (f"missing: {first}", "unexpected: _orig_mod.x", "of another shape: fc1.bias"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(RecordError, match="their checksum is not the record's"):
        building.load_weights(building.model(composed), record, run_dir)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["kiti-export", *map(str, arguments)])
    try:
        export_command.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, _, _ = finished(tmp_path, *RESNET)
    place = tmp_path / "exported"
    assert command(monkeypatch, run_dir, "--to", "torchvision", place) == 0
    assert capsys.readouterr().out == f"{place}\n"
    assert sorted(path.name for path in place.iterdir()) == ["README.md", "model.pth"]
    assert command(monkeypatch, run_dir, "--to", "torchvision", place) == 2
    assert "is not an empty directory" in capsys.readouterr().err
    with (run_dir / WEIGHTS).open("r+b") as file:
        file.seek(5000)
        file.write(b"x")
    assert command(monkeypatch, run_dir, "--to", "timm", tmp_path / "other") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "their checksum is not the record's" in line
    assert command(monkeypatch, tmp_path, "--to", "timm", tmp_path / "other") == 2
    assert "No such file" in capsys.readouterr().err
