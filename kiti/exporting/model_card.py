"""The README.md beside exported weights: what was trained on what, and how well it does."""

import re
from collections.abc import Sequence

from kiti.exporting.stock_models import CAUSAL, Stock
from kiti.storage.records import Record

WEIGHTS_OF = {"torchvision": "model.pth", "timm": "model.safetensors", "transformers": "model.safetensors"}

_SCALES = {
    "paper": "paper: the paper's protocol",
    "laptop": "laptop: the same code on less data and fewer epochs than the paper's protocol",
    "smoke": "smoke: a few steps that show that the code runs; the weights are of no other use",
}


def model_card(record: Record, stock: Stock, inputs: str) -> str:
    """Markdown; `inputs` says how images are prepared."""
    config, size = record.config, _test_size(record)
    collision = config["collision"]
    facts = [
        ("data", f"{config['data']['unit']}: {record.data.split}; content sha256 {record.data.content[:16]}"),
        ("stand-in", record.data.stand_in or "no, the data that the paper used"),
        ("scale", _SCALES.get(record.scale, record.scale)),
        ("inputs", inputs),
        ("residual in training", _named(config["residual"])),
        ("collision of gradients", _named(collision) if collision else "none"),
        ("averaging of weights", _named(config["averaging"]) if config["averaging"] else "none"),
        ("seed", f"{record.seed}, one run: other seeds give other numbers"),
        ("precision", record.precision),
        ("config hash", f"`{record.config_hash}`"),
        ("revisions", ", ".join(f"{name} {revision}" for name, revision in sorted(record.revisions.items()))),
        ("code", f"commit {record.git.commit}{', with changes' if record.git.dirty else ''}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()))),
        ("sha256 of kiti's weights", f"`{record.weights}`"),
    ]
    if record.state != "finished":
        facts.insert(0, ("state", record.state))
    tests = {name: value for name, value in sorted(record.metrics.items()) if name.startswith("test/")}
    number = f"{size}" if size else "not recorded"
    return "\n".join(
        [
            f"# {stock.name}, trained as {record.experiment} by kiti",
            "",
            "Weights of the stock model; kiti is not needed to use them.",
            "",
            "```python",
            *_loading(stock),
            "```",
            "",
            *_table(("metric", "value", "n, test samples"), [(name, f"{v:.6g}", number) for name, v in tests.items()]),
            "",
            *_table(("", ""), facts),
            "",
            "Trained by",
            "",
            f"    kiti-train {' '.join(record.overrides)}",
            "",
        ]
    )


def _loading(stock: Stock) -> list[str]:
    if stock.library == "timm":
        return [
            "import timm",
            "",
            'model = timm.create_model("local-dir:.", pretrained=True).eval()   # this directory',
            f"# the same: {stock.call[:-1]}, checkpoint_path={WEIGHTS_OF['timm']!r}).eval()",
        ]
    if stock.library == "transformers":
        loader = "AutoModelForCausalLM" if stock.name in CAUSAL else "AutoModelForSequenceClassification"
        return [
            f"from transformers import {loader}, AutoTokenizer",
            "",
            f'model = {loader}.from_pretrained(".").eval()   # this directory',
            'tokenizer = AutoTokenizer.from_pretrained(".")',
        ]
    return [
        "import torch, torchvision",
        "",
        f"model = {stock.call}",
        f'model.load_state_dict(torch.load("{WEIGHTS_OF["torchvision"]}", weights_only=True))',
        "model.eval()",
    ]


def _test_size(record: Record) -> int | None:
    found = re.search(r"\btest (\d+)", record.data.split)
    return int(found.group(1)) if found else None


def _named(node: dict[str, object]) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in node.items() if key != "unit")
    return f"{node['unit']} ({settings})" if settings else str(node["unit"])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
