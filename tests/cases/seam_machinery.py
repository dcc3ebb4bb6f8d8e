"""Seams under torch.compile, torch.func, torch.fx, torch.jit and torch.export."""

import copy
import warnings
from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.fx import symbolic_trace
from torch.utils.checkpoint import checkpoint
from torchvision.models.feature_extraction import create_feature_extractor

from kiti.residual import KITIResidual
from kiti.seams.opening import open_seam
from kiti.seams.watching import Directions, keep_statistics, statistics

COLLIDING = partial(KITIResidual, 2, 0.9)
X = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.branch = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(self.norm(x))


class Network(nn.Module):
    """Two blocks, checkpointed if wanted."""

    def __init__(self, checkpointed: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.checkpointed = checkpointed

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointed else block(x)
        return x


def opened(checkpointed: bool = False) -> Network:
    torch.manual_seed(0)
    model = Network(checkpointed)
    open_seam(model, branch="blocks.*.branch", shortcut="blocks.*.norm", residual=COLLIDING)
    Directions(model, seed=0)
    return model


@pytest.fixture(autouse=True)
def quiet() -> Any:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*kinetic energy")
        yield


def test_compiles_as_one_graph_and_not_again_at_every_call() -> None:
    model = opened()
    graphs: list[Any] = []

    def count(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, fullgraph=True, backend=count)
    for _ in range(5):
        compiled(X).sum().backward()
    assert len(graphs) <= 2  # the statistics start as None
    assert all(means.calls == 5 and means.pairs > 0 for means in statistics(model).values())
    assert torch.equal(torch.compile(model.eval(), fullgraph=True, backend="eager")(X), model(X))


@pytest.mark.parametrize("kept", [True, False])
def test_compiles_with_activation_checkpointing(kept: bool) -> None:
    """A seam keeps x from one hook to the next, which torch must be told not to repeat in the backward."""
    model = opened(checkpointed=True)
    keep_statistics(model, kept)
    x = X.clone().requires_grad_()
    with torch._dynamo.config.patch(skip_fwd_side_effects_in_bwd_under_checkpoint=True):
        torch.compile(model, fullgraph=True, backend="aot_eager")(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(means.calls == kept for means in statistics(model).values())


class Own(nn.Module):
    """Calls its residual itself, checkpointed."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.residual = nn.Linear(8, 8), COLLIDING()

    def join(self, x: Tensor) -> Tensor:
        return self.residual(x, self.branch(x))

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.join, x, use_reentrant=False)


def test_without_statistics_a_residual_has_no_side_effect() -> None:
    model = Own()
    keep_statistics(model, kept=False)
    x = X.clone().requires_grad_()
    torch.compile(model, fullgraph=True, backend="aot_eager")(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert [means.calls for means in statistics(model).values()] == [0]


def test_functorch_gives_the_gradient_and_leaves_nothing_behind() -> None:
    model = opened()
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(model, parameters, (x,)).square().sum()

    gradients = grad(loss)(parameters, X)
    assert all(means.calls == 0 for means in statistics(model).values())
    copy.deepcopy(model)
    Directions(model, seed=0)
    model(X).square().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)


class Wrapped(nn.Module):
    """Not a leaf of torch.fx, unlike the layers of torch."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_traced_graph_collides_like_the_model(wrapped: bool) -> None:
    """Hooks of leaves run with the graph; between modules that are traced into, the residual is a leaf."""
    model = Network()
    for block in model.blocks if wrapped else ():
        block.norm, block.branch = Wrapped(block.norm), Wrapped(block.branch)
    open_seam(model, branch="blocks.*.branch", shortcut="blocks.*.norm", residual=COLLIDING)
    graph = symbolic_trace(model)
    leaves = [node.target for node in graph.graph.nodes if str(node.target).endswith("residual")]
    assert leaves == (["blocks.0.residual", "blocks.1.residual"] if wrapped else [])
    Directions(model, seed=0)
    expected = model(X)
    Directions(model, seed=0)
    assert torch.equal(graph(X), expected)
    torch.testing.assert_close(graph.eval()(X), model.eval()(X))


@pytest.mark.parametrize("depth", [18, 50])
def test_features_can_be_extracted_in_both_modes(depth: int) -> None:
    model = torchvision.models.get_model(f"resnet{depth}").train()
    open_seam(model, residual=partial(KITIResidual, 8, 0.5))
    extractor = create_feature_extractor(model, ["layer4", "fc"])
    images = torch.randn(2, 3, 64, 64)
    extractor.train()(images)
    assert all(means.calls == 1 for means in statistics(model).values())
    with torch.no_grad():
        assert torch.equal(extractor.eval()(images)["fc"], model.eval()(images))


def test_tracing_halfway_is_refused() -> None:
    class Half(torch.fx.Tracer):
        def is_leaf_module(self, module: nn.Module, name: str) -> bool:
            return name.endswith("norm")

    model = opened()
    with pytest.raises(RuntimeError, match=r"blocks\.0\.branch ran before blocks\.0\.norm got its input"):
        Half().trace(model)


def test_scripting_is_refused_in_one_line_and_tracing_in_training() -> None:
    model = opened()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError, match=r"torch\.jit\.script cannot compile.*close_seam") as caught:
            torch.jit.script(model)
        assert "\n" not in str(caught.value)
        with pytest.raises(RuntimeError, match=r"call model\.eval\(\) before tracing"):
            torch.jit.trace(model, X)
        assert torch.equal(torch.jit.trace(model.eval(), X)(X), model(X))


def test_exports_in_eval_mode_like_the_stock_model() -> None:
    model = opened().eval()
    exported = torch.export.export(model, (X,))
    torch.manual_seed(0)
    stock = torch.export.export(Network().eval(), (X,))
    assert [node.target for node in exported.graph.nodes] == [node.target for node in stock.graph.nodes]
    assert torch.equal(exported.module()(X), model(X))


@pytest.mark.parametrize("mode", [True, False])
def test_x_and_v_of_different_shape_are_refused_in_both_modes(mode: bool) -> None:
    with pytest.raises(ValueError, match=r"x and v differ in shape: \(4, 8\) and \(1, 8\)"):
        KITIResidual(2, 0.5).train(mode)(X, X[:1])


@pytest.mark.parametrize("mode", [True, False])
def test_x_and_v_of_different_dtype_are_promoted_in_both_modes(mode: bool) -> None:
    assert KITIResidual(2, 0.5).train(mode)(X, X.bfloat16()).dtype == torch.float32
