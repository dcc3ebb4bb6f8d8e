"""The papers' models in training, each on one fixed batch, for benchmark_step.py."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, AdamW, Optimizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from kiti.models.chain import Chain
from kiti.models.fno import FNO1d
from kiti.models.language_model import build_language_model
from kiti.models.resnet import build_resnet
from kiti.models.text_classifier import build_text_classifier
from kiti.residual import ResidualFactory


@dataclass(frozen=True)
class Workload:
    """A model in training on one fixed batch."""

    model: nn.Module
    loss: Callable[[], Tensor]  # of the batch's next part at each call
    optimizer: type[Optimizer]
    batch: str
    heads: tuple[int, ...] = ()  # collision_heads to measure; none if the papers have no seam
    system_axis: int = -1
    neurons: tuple[str, ...] = ()  # parameters whose gradients collide
    autocast: bool = True
    parts: int = 1  # of the batch, whose gradients sum to the step's


Size = str  # "paper"; "cpu", with smaller batches; "quick"
Builder = Callable[[ResidualFactory, Size, torch.device], Workload]


def fno1d(residual: ResidualFactory, size: Size, device: torch.device) -> Workload:
    batch, points, sizes = (2, 32, {"width": 4, "modes": 3}) if size == "quick" else (20, 1024, {})
    model = FNO1d(**sizes, residual=residual).to(device)
    u0, u1 = torch.randn(2, batch, points, device=device)

    def loss() -> Tensor:
        return ((model(u0) - u1).norm(dim=1) / u1.norm(dim=1)).mean()

    heads = tuple(2**power for power in range(points.bit_length()))  # the last has one particle
    return Workload(model, loss, Adam, f"{batch} x {points}", heads, neurons=("fc1.weight",), autocast=False)


def chain(residual: ResidualFactory, size: Size, device: torch.device) -> Workload:
    """The six-layer network of KITINet's section 5.7: much smaller collisions than those of the other models."""
    samples = 8 if size == "quick" else 80
    model = Chain(5, 50, 4, "tanh", 0.005, shortcut=True, seams=4, seed=0, residual=residual).to(device)
    x, y = torch.randn(samples, 1, 5, device=device), torch.randn(samples, 1, device=device)
    return Workload(model, lambda: functional.mse_loss(model(x), y), Adam, f"{samples} x 5", heads=(5,), autocast=False)


def resnet(depth: int, cpu_batch: int, classes: int = 10, heads: tuple[int, ...] = (2, 4)) -> Builder:
    """By default, `heads` are those of reading A13."""

    def build(residual: ResidualFactory, size: Size, device: torch.device) -> Workload:
        batch, pixels = {"paper": (128, 32), "cpu": (cpu_batch, 32), "quick": (2, 8)}[size]
        model = build_resnet(depth, classes, residual=residual).to(device)
        images = torch.randn(batch, 3, pixels, pixels, device=device)
        labels = torch.randint(classes, (batch,), device=device)

        def loss() -> Tensor:
            return functional.cross_entropy(model(images), labels)

        shape = f"{batch} x {pixels} x {pixels}"
        return Workload(model, loss, SGD, shape, heads, system_axis=1, neurons=("fc.weight",))

    return build


def gpt2(residual: ResidualFactory, size: Size, device: torch.device) -> Workload:
    batch, tokens = {"paper": (8, 1024), "cpu": (1, 256), "quick": (1, 8)}[size]
    sizes = {"vocab_size": 50257, "positions": 1024, "width": 768, "layers": 12, "heads": 12, "ffn": 3072}
    tiny = {"vocab_size": 64, "width": 32, "layers": 2, "heads": 2, "ffn": 128}
    model = build_language_model(
        "gpt2", residual=residual, **sizes | (tiny if size == "quick" else {}), use_cache=False
    )
    model.to(device)
    ids = torch.randint(model.config.vocab_size, (batch, tokens), device=device)
    # No KO: the paper uses none here, and GPT-2's matrices have their neurons in columns.
    return Workload(model, lambda: next_token_loss(model, ids), AdamW, f"{batch} x {tokens}", heads=(8,))


def bert(residual: ResidualFactory, size: Size, device: torch.device) -> Workload:
    batch, tokens = {"paper": (32, 512), "cpu": (2, 128), "quick": (2, 8)}[size]
    tiny = {"width": 32, "layers": 2, "heads": 2, "ffn": 64}
    model = build_text_classifier("bert", residual=residual, **(tiny if size == "quick" else {})).to(device)
    ids = torch.randint(model.config.vocab_size, (batch, tokens), device=device)
    labels = torch.randint(2, (batch,), device=device)
    shape, neurons = f"{batch} x {tokens}", ("classifier.weight",)
    return Workload(model, lambda: model(ids, labels=labels).loss, Adam, shape, heads=(8,), neurons=neurons)


def qwen2(residual: ResidualFactory, size: Size, device: torch.device) -> Workload:
    batch, tokens = (2, 8) if size == "quick" else (4, 1024)
    sizes = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "vocab_size": 151936}
    if size == "quick":
        sizes = {"hidden_size": 28, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 64}
    config = Qwen2Config(
        **sizes, num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True, use_cache=False
    )
    model = Qwen2ForCausalLM(config).to(device)
    ids = torch.randint(model.config.vocab_size, (batch, tokens), device=device)
    last = f"model.layers.{config.num_hidden_layers - 1}"
    neurons = (f"{last}.self_attn.?_proj.weight", f"{last}.mlp.*_proj.weight")
    parts = 1 if size == "paper" else batch  # the logits of one text take .6 GB, several times
    texts = itertools.cycle(ids.chunk(parts))
    shape = f"{batch} x {tokens}" + (f" in {parts} parts" if parts > 1 else "")
    return Workload(model, lambda: next_token_loss(model, next(texts)), AdamW, shape, neurons=neurons, parts=parts)


def next_token_loss(model: nn.Module, ids: Tensor) -> Tensor:
    logits = model(ids).logits[:, :-1].flatten(0, 1)  # (B (T - 1), vocabulary)
    return functional.cross_entropy(logits.float(), ids[:, 1:].flatten())


MODELS: dict[str, Builder] = {
    "fno1d": fno1d,
    "resnet18": resnet(18, cpu_batch=16),
    "resnet50": resnet(50, cpu_batch=8),
    "gpt2": gpt2,
    "bert-base": bert,
    "qwen2-0.5b": qwen2,
}
