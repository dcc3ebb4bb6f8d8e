"""A GPT-2 with the seam has transformers' weights and gradients exactly; only the seam collides."""

from functools import partial

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from kiti.models.gpt2 import build_gpt2
from kiti.residual import Add, KITIResidual, Residual
from kiti.seams.opening import open_seam
from kiti.seams.watching import Directions

COLLIDING = partial(KITIResidual, 2, 0.9)
SMALL = {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 16, "vocab_size": 31, "bos_token_id": 0}
SMALL |= {"eos_token_id": 0, "pad_token_id": 0}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
TOKENS = torch.randint(1, 31, (2, 12), generator=torch.Generator().manual_seed(1))


def stock() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(**SMALL))


def step(model: GPT2LMHeadModel, autocast: bool = False) -> dict[str, Tensor]:
    """Loss and gradients of one training step, dropout included."""
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = model.train()(TOKENS, labels=TOKENS).loss
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in model.named_parameters()}}


def seams(model: GPT2LMHeadModel) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, KITIResidual)]


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("gpt2", 124_439_808), ("gpt2-medium", 354_823_168), ("gpt2-large", 774_030_080), ("gpt2-xl", 1_557_611_200)],
)
def test_sizes_match_openai(size: str, parameters: int) -> None:
    with torch.device("meta"):
        model = build_gpt2(size, residual=COLLIDING)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_model_and_initial_weights_match_transformers() -> None:
    torch.manual_seed(0)
    expected = stock().state_dict()
    torch.manual_seed(0)
    model = build_gpt2(**SMALL, residual=COLLIDING)
    assert type(model) is GPT2LMHeadModel
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in expected.items())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_weights_load_strictly_both_ways_with_equal_outputs(attention: str) -> None:
    ours = build_gpt2(**SMALL, residual=COLLIDING, attn_implementation=attention)
    theirs = GPT2LMHeadModel(GPT2Config(**SMALL, attn_implementation=attention))
    theirs.load_state_dict(ours.state_dict(), strict=True)
    back = build_gpt2(**SMALL, residual=COLLIDING, attn_implementation=attention)
    back.load_state_dict(theirs.state_dict(), strict=True)
    outputs = [
        model.eval()(TOKENS, attention_mask=(TOKENS > 3).long(), output_hidden_states=True, output_attentions=False)
        for model in (theirs, ours, back)
    ]
    for output in outputs[1:]:
        assert torch.equal(output.logits, outputs[0].logits)
        assert len(output.hidden_states) == len(outputs[0].hidden_states) == 4
        for actual, expected in zip(output.hidden_states, outputs[0].hidden_states, strict=True):
            assert torch.equal(actual, expected)


@pytest.mark.parametrize("how", [{"do_sample": False}, {"do_sample": True}, {"num_beams": 2}])
def test_generates_the_same_text_as_stock(how: dict) -> None:
    ours, theirs = build_gpt2(**SMALL, residual=COLLIDING).eval(), stock().eval()
    theirs.load_state_dict(ours.state_dict())
    texts = []
    for model in (ours, theirs):
        torch.manual_seed(0)
        texts.append(model.generate(TOKENS[:, :4], attention_mask=torch.ones(2, 4), max_new_tokens=8, **how))
    assert torch.equal(*texts)
    assert all(ours.get_submodule(name).collisions is None for name in seams(ours))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "autocast"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_with_addition_a_training_step_matches_transformers_bit_for_bit(precision: str, checkpointing: bool) -> None:
    ours, theirs = build_gpt2(**SMALL), stock()
    ours.load_state_dict(theirs.state_dict())
    results = []
    for model in (ours, theirs):
        if precision == "bfloat16":
            model.bfloat16()
        if checkpointing:
            model.gradient_checkpointing_enable()
        results.append(step(model, autocast=precision == "autocast"))
    actual, expected = results
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


def test_checkpointing_recomputes_the_same_collisions() -> None:
    """Collided features match bit for bit; gradients up to rounding, as in stock GPT-2 on some processors."""
    plain, checkpointed = build_gpt2(**SMALL, residual=COLLIDING), build_gpt2(**SMALL, residual=COLLIDING)
    checkpointed.load_state_dict(plain.state_dict())
    checkpointed.gradient_checkpointing_enable()
    collided: dict[str, list[Tensor]] = {name: [] for name in seams(checkpointed)}
    for name, outputs in collided.items():
        seam = checkpointed.get_submodule(name)
        seam.register_forward_hook(lambda _m, _xv, out, outputs=outputs: outputs.append(out.detach().clone()))
    Directions(plain, seed=0)
    Directions(checkpointed, seed=0)
    expected, actual = step(plain), step(checkpointed)
    for name, outputs in collided.items():
        first, again = outputs
        assert torch.equal(first, again), name
    assert torch.equal(actual["loss"], expected["loss"])
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=0, atol=1e-5 * float(value.abs().max()), msg=name)


@pytest.mark.parametrize(("layers", "expected"), [(None, [0, 1, 2]), ([1], [1]), ([-1, 0], [0, 2]), ([], [])])
def test_only_the_named_layers_collide(layers: list[int] | None, expected: list[int]) -> None:
    model = build_gpt2(**SMALL, layers=layers, residual=COLLIDING)
    assert seams(model) == [f"transformer.h.{i}.residual" for i in expected]
    for name, value in step(model).items():
        assert value.isfinite().all(), name
    for name in seams(model):
        assert model.get_submodule(name).collisions.partners > 0, name


def test_the_seam_gets_the_residual_stream_and_the_attention_output() -> None:
    """x is the layer's input, v the attention module's output; a system is one token."""
    model = build_gpt2(**SMALL, residual=COLLIDING)
    inputs, branches, joined = [], [], []
    for block in model.transformer.h:
        block.register_forward_pre_hook(lambda _m, args: inputs.append(args[0]))
        block.attn.register_forward_hook(lambda _m, _i, out: branches.append(out[0]), prepend=True)
        block.residual.register_forward_pre_hook(lambda _m, xv: joined.append(xv))
    step(model)
    assert len(joined) == 3
    for x, v, seam in zip(inputs, branches, joined, strict=True):
        assert seam[0] is x
        assert seam[1] is v


@pytest.mark.parametrize("changed", [6, 11])
def test_no_token_sees_its_future_in_training(changed: int) -> None:
    """Collisions mix features within a token, never tokens: the prefix stays bit-identical."""
    model = build_gpt2(**SMALL, **NO_DROPOUT, residual=COLLIDING).train()
    other = TOKENS.clone()
    other[:, changed] = TOKENS[:, changed] % 30 + 1  # a different token
    logits = []
    for tokens in (TOKENS, other):
        Directions(model, seed=0)  # the same for both
        logits.append(model(tokens).logits)
        assert all(model.get_submodule(name).collisions.partners > 0 for name in seams(model))
    assert torch.equal(logits[0][:, :changed], logits[1][:, :changed])
    assert not torch.equal(logits[0][:, changed:], logits[1][:, changed:])
    with torch.no_grad():  # and the collisions affect these logits
        assert not torch.equal(model.eval()(TOKENS).logits, logits[0])


def test_residuals_are_created_in_execution_order() -> None:
    made: list[Residual] = []

    def factory() -> Residual:
        made.append(Add())
        return made[-1]

    model = build_gpt2(**SMALL, layers=[2, 0], residual=factory)
    assert [model.transformer.h[i].residual for i in (0, 2)] == made


def test_opening_the_seam_keeps_the_mode_and_warns() -> None:
    model = stock().eval()  # from_pretrained returns a model in eval mode
    with pytest.warns(UserWarning, match=r"eval mode.* call model.train\(\)"):
        open_seam(model, residual=COLLIDING)
    assert not any(module.training for module in model.modules())
    open_seam(model, residual=Add)  # and it can be opened again
    assert seams(model) == []


def test_an_invalid_choice_is_named() -> None:
    with pytest.raises(ValueError, match="size='gpt3': one of 'gpt2', 'gpt2-medium'"):
        build_gpt2("gpt3")
    with pytest.raises(IndexError):
        build_gpt2(**SMALL, layers=[3])


def test_cross_attention_stays_as_it_is() -> None:
    model = build_gpt2(**SMALL, add_cross_attention=True, residual=COLLIDING)
    seen = torch.zeros(2, 3, 16)
    model(TOKENS, encoder_hidden_states=seen).logits.sum().backward()
    assert all(model.get_submodule(name).collisions.partners > 0 for name in seams(model))
