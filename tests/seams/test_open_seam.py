"""`open_seam` on stock models of other libraries: eval stays stock to the bit, training gives residual(x, v)."""

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from kiti.residual import Add, KITIResidual, Residual
from kiti.seams.fitting import SeamError
from kiti.seams.opening import OpenedSeams, close_seam, open_seam
from kiti.seams.watching import Directions, statistics

COLLIDING = partial(KITIResidual, 2, 0.9)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(1, 31, (2, 7), generator=torch.Generator().manual_seed(0))


class UNet(nn.Module):
    """Two scales; each convolution has a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.down = nn.ModuleList(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)) for _ in range(2))
        self.up = nn.ModuleList(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8)) for _ in range(2))

    def forward(self, image: Tensor) -> Tensor:
        h = self.stem(image)
        skips = []
        for layer in self.down:
            h = layer(h) + h
            skips.append(h)
            h = nn.functional.avg_pool2d(h, 2)
        for layer in self.up:
            h = nn.functional.interpolate(h, scale_factor=2) + skips.pop()
            h = torch.relu(h + layer(h))
        return h


class GNN(nn.Module):
    """Messages along a ring of nodes: (nodes, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.message = nn.ModuleList(nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 16)) for _ in range(3))
        self.norm = nn.ModuleList(nn.LayerNorm(16) for _ in range(3))

    def forward(self, nodes: Tensor) -> Tensor:
        for message, norm in zip(self.message, self.norm, strict=True):
            h = norm(nodes)
            nodes = nodes + message(torch.cat([h, h.roll(1, dims=0)], dim=-1))
        return nodes


def gpt2() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=16, vocab_size=31)).train()


def qwen2() -> Qwen2ForCausalLM:
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "vocab_size": 31}
    return Qwen2ForCausalLM(Qwen2Config(**sizes, num_attention_heads=2, num_key_value_heads=1)).train()


def bert() -> BertModel:
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 31}
    return BertModel(BertConfig(**sizes, intermediate_size=16)).train()


def distilbert() -> DistilBertForSequenceClassification:
    sizes: dict[str, Any] = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16, "vocab_size": 31}
    return DistilBertForSequenceClassification(DistilBertConfig(**sizes)).train()


def timm_resnet(**options: Any) -> nn.Module:
    return timm.create_model("resnet18", num_classes=5, zero_init_last=False, **options)


CASES: dict[str, tuple[Callable[[], nn.Module], Tensor, dict[str, Any], int]] = {
    # model, input, names, how many seams
    "timm vit": (
        lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=5),
        IMAGES,
        {"branch": "blocks.*.attn", "shortcut": "blocks.*.norm1"},
        2,
    ),
    "timm vit, layer scale and drop path": (
        lambda: timm.create_model(
            "vit_tiny_patch16_224", img_size=32, depth=2, num_classes=5, init_values=0.5, drop_path_rate=0.2
        ),
        IMAGES,
        {
            "branch": ["blocks.*.drop_path1", "blocks.*.drop_path2"],
            "shortcut": ["blocks.*.norm1", "blocks.*.norm2"],
        },
        4,
    ),
    "gpt2": (gpt2, TOKENS, {}, 2),
    "qwen2": (qwen2, TOKENS, {}, 2),
    "bert": (bert, TOKENS, {}, 2),
    "distilbert": (distilbert, TOKENS, {}, 2),
    "torchvision resnet18": (lambda: torchvision.models.resnet18(num_classes=5), IMAGES, {}, 2),
    "torchvision resnet50": (lambda: torchvision.models.resnet50(num_classes=5), IMAGES, {}, 3),
    "timm resnet18": (timm_resnet, IMAGES, {}, 2),
    "timm resnet50, attention and drop path": (
        lambda: timm.create_model(
            "resnet50", num_classes=5, zero_init_last=False, drop_path_rate=0.2, block_args={"attn_layer": "se"}
        ),
        IMAGES,
        {},
        3,
    ),
    "timm convnext": (
        lambda: timm.create_model("convnext_atto", num_classes=5, ls_init_value=0.5, drop_path_rate=0.1),
        IMAGES,
        {},
        2,
    ),
    "u-net": (
        UNet,
        IMAGES,
        {"branch": ["down.*", "up.*"], "shortcut": ["down.*", "up.*"]},
        4,
    ),
    "gnn": (GNN, torch.randn(6, 16), {"branch": "message.*", "shortcut": "norm.*"}, 3),
}
EVERY_CASE = pytest.mark.parametrize("case", CASES)


def built(case: str) -> tuple[nn.Module, Tensor, dict[str, Any], int]:
    torch.manual_seed(0)
    make, data, names, count = CASES[case]
    return make().train(), data, names, count


def outputs(model: nn.Module, data: Tensor) -> Tensor:
    """What the model returns for the same dropout."""
    torch.manual_seed(1)
    out = model(data)
    return out if isinstance(out, Tensor) else next(iter(out.values()))


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=r".*kinetic energy")
        yield


@EVERY_CASE
def test_eval_and_weights_stay_stock_to_the_bit(case: str) -> None:
    model, data, names, count = built(case)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = outputs(model.eval(), data)
    opened = open_seam(model.train(), **names, residual=COLLIDING)
    assert len(opened) == count
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    assert torch.equal(outputs(model.eval(), data), expected)


@EVERY_CASE
def test_with_addition_training_stays_stock_to_the_bit(case: str) -> None:
    model, data, names, _ = built(case)
    plain = copy.deepcopy(model)
    open_seam(model, **names, residual=Add)
    for one in (model, plain):
        outputs(one, data).square().mean().backward()
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad), name


class Doubled(Residual):
    """2 x + v: shows that the addition gives what the residual returns."""

    def join(self, x: Tensor, v: Tensor) -> Tensor:
        return 2 * x + v


@EVERY_CASE
def test_in_training_every_addition_gives_what_the_residual_returns(case: str) -> None:
    """Against the stock model whose branch returns v + x: (v + x) + x = 2 x + v."""
    model, data, names, count = built(case)
    model.double()
    data = data.double() if data.is_floating_point() else data
    other = copy.deepcopy(model)
    opened = open_seam(model, **names, residual=Doubled)
    assert len(opened) == count
    for seam in opened:
        _double(other, seam.branch, seam.shortcut)
    ours, theirs = outputs(model, data), outputs(other, data)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert not torch.equal(ours, outputs(built(case)[0].double(), data))


def _double(model: nn.Module, branch: str, shortcut: str) -> None:
    """Doubles the shortcut x of one addition x + v, by v + x or x + x."""
    kept: list[Tensor] = []
    module = model.get_submodule(shortcut.removesuffix(":output"))
    if shortcut.endswith(":output"):
        module.register_forward_hook(lambda _m, _i, x: x + x)
        return
    module.register_forward_pre_hook(lambda _m, args: kept.append(args[0]))

    def add(_m: nn.Module, _i: Any, out: Any) -> Any:
        x = kept.pop()
        return (out[0] + x, *out[1:]) if isinstance(out, tuple) else out + x

    model.get_submodule(branch).register_forward_hook(add)


@EVERY_CASE
def test_it_collides_and_trains(case: str) -> None:
    model, data, names, count = built(case)
    open_seam(model, **names, residual=COLLIDING)
    outputs(model, data).square().mean().backward()
    found = statistics(model)
    assert len(found) == count
    assert all(means.calls == 1 for means in found.values())
    assert any(means.pairs > 0 for means in found.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@EVERY_CASE
def test_closing_undoes_it(case: str) -> None:
    model, data, names, count = built(case)
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    modules = [name for name, _ in model.named_modules()]
    expected = outputs(copy.deepcopy(model), data)
    open_seam(model, **names, residual=COLLIDING)
    assert len(close_seam(model)) == count
    assert [name for name, _ in model.named_modules()] == modules
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) == hooks
    assert torch.equal(outputs(model, data), expected)
    with pytest.raises(SeamError, match="has no open seam"):
        close_seam(model)


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "save"])
def test_a_copy_has_seams_of_its_own(how: str) -> None:
    model, data, names, _ = built("torchvision resnet18")
    open_seam(model, **names, residual=COLLIDING)
    if how == "deepcopy":
        other = copy.deepcopy(model)
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(model))
    else:
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        other = torch.load(buffer, weights_only=False)
    outputs(other, data)
    assert all(means.calls == 1 for means in statistics(other).values())
    assert all(means.calls == 0 for means in statistics(model).values())
    close_seam(other)
    outputs(model, data)
    assert all(means.calls == 1 for means in statistics(model).values())


def test_it_says_what_it_opened() -> None:
    opened = open_seam(timm_resnet().train(), residual=partial(KITIResidual, 4, 0.5))
    assert isinstance(opened, OpenedSeams)
    first, second = opened
    assert (first.residual, first.D, first.N, first.axis) == ("layer4.0.residual", 512, 128, 1)
    assert str(opened).splitlines() == [
        "residual           v: branch     x: shortcut                   D    N    axis",
        "layer4.0.residual  layer4.0.bn2  layer4.0.downsample.1:output  512  128  1",
        "layer4.1.residual  layer4.1.bn2  layer4.1.conv1                512  128  1",
    ]
    assert second.shortcut == "layer4.1.conv1"


def test_a_block_with_a_forward_of_its_own_collides() -> None:
    """As accelerate's dispatch sets one on the instance."""
    model, data, names, _ = built("gpt2")
    for block in model.transformer.h:
        block.forward = partial(type(block).forward, block)
    open_seam(model, **names, residual=COLLIDING)
    outputs(model, data)
    assert all(means.calls == 1 for means in statistics(model).values())


def test_a_subclassed_block_keeps_its_forward() -> None:
    class Louder(torchvision.models.resnet.BasicBlock):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model = torchvision.models.ResNet(Louder, [1, 1, 1, 1], 5)
    expected = model.eval()(IMAGES)
    open_seam(model.train(), residual=COLLIDING)
    assert torch.equal(model.eval()(IMAGES), expected)
    model.train()(IMAGES)
    assert [means.calls for means in statistics(model).values()] == [1]


def test_velocity_scaled_by_dt_acts_in_eval_too() -> None:
    model, data, names, _ = built("gnn")
    expected = copy.deepcopy(model)
    for message in expected.message:
        message.register_forward_hook(lambda _m, _i, v: 0.5 * v)
    open_seam(model, **names, residual=partial(KITIResidual, 2, 0.5, 0.5))
    torch.testing.assert_close(model.eval()(data), expected.eval()(data))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"branch": "blocks.*.atn"}, r"branch='blocks\.\*\.atn' matches no module; near names: blocks\.\d\.attn"),
        ({"shortcut": "blocks.*.nrm1"}, r"shortcut='blocks\.\*\.nrm1' matches no module 'blocks\.0\.nrm1'; near names"),
        ({"shortcut": None}, "branch and shortcut belong together"),
        ({"shortcut": ["blocks.*.norm1", "norm"]}, "branch has 1 patterns and shortcut 2"),
        ({"shortcut": "*.*.norm1"}, "needs as many"),
        ({"residual": partial(KITIResidual, 7, 0.5)}, r"blocks\.0\.attn: collision_heads=7 does not divide D=192"),
        ({"residual": partial(KITIResidual, 8, 0.5, system_axis=1)}, "features are on axis -1, not on system_axis=1"),
        ({"residual": KITIResidual(8, 0.5)}, "is one module, and each addition needs its own: pass the class"),
        ({"residual": nn.Identity}, "residual returned a Identity"),
        ({"branch": None, "shortcut": None}, "VisionTransformer: not a family whose additions are known"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(wrong: dict[str, Any], message: str) -> None:
    model, _, names, _ = built("timm vit")
    before = [name for name, _ in model.named_modules()]
    with pytest.raises((SeamError, TypeError), match=message) as caught:
        open_seam(model, **{**names, "residual": COLLIDING, **wrong})
    assert "\n" not in str(caught.value)
    assert [name for name, _ in model.named_modules()] == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_one_module_for_two_seams_is_refused() -> None:
    one = KITIResidual(2, 0.5)
    with pytest.raises(TypeError, match="the same module twice"):
        open_seam(timm_resnet(), residual=lambda: one)


def test_layers_that_do_not_tell_the_axis_need_it_named() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv1d(4, 4, 1), nn.Linear(6, 6)), nn.ReLU())
    names: dict[str, Any] = {"branch": "0", "shortcut": "0"}
    with pytest.raises(SeamError, match="do not tell which axis holds the features; pass system_axis"):
        open_seam(model, **names, residual=COLLIDING)
    [opened] = open_seam(model, **names, residual=COLLIDING, system_axis=1)
    assert opened.axis == 1


def test_a_shortcut_that_comes_too_late_is_named() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    open_seam(model, branch="0", shortcut="1", residual=COLLIDING)
    with pytest.raises(RuntimeError, match="0 ran before 1 got its input"):
        model(torch.randn(2, 4))


def test_a_model_in_eval_mode_is_warned_about() -> None:
    with pytest.warns(UserWarning, match=r"in eval mode.*call model\.train\(\)"):
        open_seam(qwen2().eval(), residual=COLLIDING)


def test_kitis_own_models_get_new_residuals() -> None:
    from kiti.models.fno import FNO1d

    model = FNO1d(width=4, modes=2, hidden=8, n_layers=2)
    assert len(open_seam(model, residual=COLLIDING)) == 2
    model(torch.randn(3, 16))
    assert all(means.calls == 1 for means in statistics(model).values())
    close_seam(model)
    assert {type(m) for m in model.modules() if isinstance(m, Residual)} == {Add}


def test_two_seams_of_a_block_draw_differently() -> None:
    model, _, names, count = built("timm vit, layer scale and drop path")
    open_seam(model, **names, residual=COLLIDING)
    state = Directions(model).state_dict()
    assert len({tuple(each["keys"]) for each in state.values()}) == count
