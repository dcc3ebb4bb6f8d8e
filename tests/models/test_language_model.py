"""Language models with the seam have transformers' weights and gradients exactly; only the seam collides."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

import kiti
from kiti.models.language_model import build_language_model, materialise
from kiti.models.tied_weights import stored_once, tied_names, with_tied_names
from kiti.residual import AccelerationChain, Add, KITIResidual, MatchedNoise, Residual
from kiti.seams.fitting import SeamError
from kiti.seams.opening import open_seam
from kiti.seams.watching import Directions
from kiti.units.keys import FilesError

COLLIDING = partial(KITIResidual, 2, 0.9)
SIZES: dict[str, Any] = {"vocab_size": 31, "positions": 16, "width": 16, "layers": 3, "heads": 2, "ffn": 32}
MORE: dict[str, dict[str, Any]] = {"gpt2": {}, "qwen2": {"kv_heads": 1, "rope_theta": 1e6}}
TOKENS = torch.randint(1, 31, (2, 12), generator=torch.Generator().manual_seed(1))
MODELS = Path(__file__).parents[2] / "conf/model"
families = pytest.mark.parametrize("family", ["gpt2", "qwen2"])


def build(family: str, **given: Any) -> Any:
    return build_language_model(family, **SIZES | MORE[family] | given)


def stock(family: str, attention: str = "sdpa") -> Any:
    common = {"vocab_size": 31, "bos_token_id": None, "eos_token_id": None, "attn_implementation": attention}
    if family == "gpt2":
        gpt2 = {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 16, "n_inner": 32}
        gpt2 |= {"activation_function": "gelu_pytorch_tanh"}
        return GPT2LMHeadModel(
            GPT2Config(**gpt2, **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1), **common)
        )
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1}
    rotary = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}, "max_position_embeddings": 16}
    return Qwen2ForCausalLM(
        Qwen2Config(**sizes, **rotary, intermediate_size=32, tie_word_embeddings=True, attention_dropout=0.1, **common)
    )


def step(model: PreTrainedModel, autocast: bool = False) -> dict[str, Tensor]:
    """Loss and gradients of one training step, dropout included."""
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = model.train()(TOKENS, labels=TOKENS).loss
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in model.named_parameters()}}  # type: ignore[dict-item]


def seams(model: torch.nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, KITIResidual)]


def configured(name: str) -> dict[str, Any]:
    """The keys of conf/model/<name>.yaml."""
    own = yaml.safe_load((MODELS / f"{name}.yaml").read_text())
    inherited: dict[str, Any] = {}
    for other in own.pop("defaults", []):
        inherited |= configured(other)
    return inherited | own


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpt2", 124_439_808),
        ("gpt2_medium", 354_823_168),
        ("gpt2_large", 774_030_080),
        ("gpt2_xl", 1_557_611_200),
        ("qwen2_0_5b", 494_032_768),
        ("qwen2_1_5b", 1_543_714_304),
        ("gpt2_3m", 2_590_848),
        ("gpt2_5m", 5_030_656),
        ("qwen2_2m", 2_362_304),
        ("qwen2_5m", 4_821_632),
    ],
)
def test_sizes_match_the_published_ones(name: str, parameters: int) -> None:
    given = configured(name) | {"seed": 0}
    given = {key: float(value) if key == "rope_theta" and value else value for key, value in given.items()}
    del given["_target_"]
    with torch.device("meta"):
        model = build_language_model(**given, residual=COLLIDING)
    assert sum(p.numel() for p in model.parameters()) == parameters


@families
def test_model_and_initial_weights_match_transformers(family: str) -> None:
    torch.manual_seed(0)
    expected = stock(family).state_dict()
    torch.manual_seed(0)
    model = build(family, residual=COLLIDING)
    assert type(model) is type(stock(family))
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in expected.items())


@families
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_weights_load_strictly_both_ways_with_equal_outputs(family: str, attention: str) -> None:
    ours, back = (build(family, residual=COLLIDING, attention=attention) for _ in range(2))
    theirs = stock(family, attention)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    back.load_state_dict(theirs.state_dict(), strict=True)
    outputs = [
        model.eval()(TOKENS, attention_mask=(TOKENS > 3).long(), output_hidden_states=True)
        for model in (theirs, ours, back)
    ]
    for output in outputs[1:]:
        assert torch.equal(output.logits, outputs[0].logits)
        assert len(output.hidden_states) == len(outputs[0].hidden_states) == 4
        for actual, expected in zip(output.hidden_states, outputs[0].hidden_states, strict=True):
            assert torch.equal(actual, expected)


@families
@pytest.mark.parametrize("how", [{"do_sample": False}, {"do_sample": True}, {"num_beams": 2}])
def test_generates_the_same_text_as_stock(family: str, how: dict[str, Any]) -> None:
    ours, theirs = build(family, residual=COLLIDING).eval(), stock(family).eval()
    theirs.load_state_dict(ours.state_dict())
    texts = []
    for model in (ours, theirs):
        torch.manual_seed(0)
        mask = torch.ones(2, 4)
        texts.append(model.generate(TOKENS[:, :4], attention_mask=mask, max_new_tokens=8, pad_token_id=0, **how))
    assert torch.equal(*texts)
    assert all(ours.get_submodule(name).collisions is None for name in seams(ours))


@families
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "autocast"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_with_addition_a_training_step_matches_transformers_bit_for_bit(
    family: str, precision: str, checkpointing: bool
) -> None:
    ours, theirs = build(family, dropout=0.1, checkpointing=checkpointing), stock(family)
    ours.load_state_dict(theirs.state_dict())
    if checkpointing:
        theirs.gradient_checkpointing_enable({"use_reentrant": False})
    results = []
    for model in (ours, theirs):
        if precision == "bfloat16":
            model.bfloat16()
            if family == "qwen2":  # whose frequencies transformers would round
                model.model.rotary_emb.inv_freq = torch.nn.Buffer(
                    build(family).model.rotary_emb.inv_freq, persistent=False
                )
        results.append(step(model, autocast=precision == "autocast"))
    actual, expected = results
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


@families
def test_checkpointing_recomputes_the_same_collisions(family: str) -> None:
    """Collided features match bit for bit; gradients up to rounding, as in stock GPT-2 on some processors."""
    plain, checkpointed = (build(family, residual=COLLIDING, checkpointing=on) for on in (False, True))
    checkpointed.load_state_dict(plain.state_dict())
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


@families
@pytest.mark.parametrize(("layers", "expected"), [(None, [0, 1, 2]), ([1], [1]), ([-1, 0], [0, 2]), ([], [])])
def test_only_the_named_layers_collide(family: str, layers: list[int] | None, expected: list[int]) -> None:
    model = build(family, residual_layers=layers, residual=COLLIDING)
    blocks = {"gpt2": "transformer.h", "qwen2": "model.layers"}[family]
    assert seams(model) == [f"{blocks}.{i}.residual" for i in expected]
    for name, value in step(model).items():
        assert value.isfinite().all(), name
    for name in seams(model):
        assert model.get_submodule(name).collisions.partners > 0, name


@families
@pytest.mark.parametrize(("residuals", "additions"), [("attention", [0]), ("mlp", [1]), ("both", [0, 1])])
def test_the_seam_gets_the_residual_stream_and_the_branch(family: str, residuals: str, additions: list[int]) -> None:
    """x is the input of the branch's norm, v what the branch returns after its dropout; a system is one token."""
    model = build(family, residuals=residuals, residual=COLLIDING)
    blocks = model.transformer.h if family == "gpt2" else model.model.layers
    ends = {"gpt2": [("ln_1", "attn"), ("ln_2", "mlp")]}
    ends["qwen2"] = [("input_layernorm", "self_attn"), ("post_attention_layernorm", "mlp")]
    inputs, branches, joined = [], [], []
    for block in blocks:
        for norm, branch in (ends[family][i] for i in additions):
            block.get_submodule(norm).register_forward_pre_hook(lambda _m, args: inputs.append(args[0]))
            block.get_submodule(branch).register_forward_hook(
                lambda _m, _i, out: branches.append(out[0] if isinstance(out, tuple) else out), prepend=True
            )
    for name in seams(model):
        model.get_submodule(name).register_forward_pre_hook(lambda _m, xv: joined.append(xv))
    step(model)
    assert len(joined) == 3 * len(additions)
    for x, v, seam in zip(inputs, branches, joined, strict=True):
        assert seam[0] is x
        assert seam[1] is v


@families
@pytest.mark.parametrize("residual", [COLLIDING, partial(MatchedNoise, 2, 0.9)])
@pytest.mark.parametrize("changed", [6, 11])
def test_no_token_sees_its_future_in_training(family: str, residual: Any, changed: int) -> None:
    """Collisions mix features within a token, never tokens: the prefix stays bit-identical."""
    model = build(family, residuals="both", residual=residual).train()
    other = TOKENS.clone()
    other[:, changed] = TOKENS[:, changed] % 30 + 1  # a different token
    logits = []
    for tokens in (TOKENS, other):
        Directions(model, seed=0)  # the same for both
        logits.append(model(tokens).logits)
        assert all(m.collisions.partners > 0 for m in model.modules() if isinstance(m, Residual))  # type: ignore[union-attr]
    assert torch.equal(logits[0][:, :changed], logits[1][:, :changed])
    assert not torch.equal(logits[0][:, changed:], logits[1][:, changed:])
    with torch.no_grad():  # and the collisions affect these logits
        assert not torch.equal(model.eval()(TOKENS).logits, logits[0])


def test_what_mixes_tokens_is_refused() -> None:
    with pytest.raises(SeamError, match="max_over=batch: in a causal model it would show a token its future"):
        build("gpt2", residual=partial(KITIResidual, 2, 0.9, max_over="batch"))
    with pytest.raises(SeamError, match="kiti_acceleration scales its first velocities by the whole batch"):
        build("qwen2", residual=AccelerationChain(2, 0.9))
    with pytest.raises(SeamError, match="system_axis=1 is not a feature axis; choose from 2 or -1"):
        build("gpt2", residual=partial(KITIResidual, 2, 0.9, system_axis=1))


def test_residuals_are_created_in_execution_order() -> None:
    made: list[Residual] = []

    def factory() -> Residual:
        made.append(Add())
        return made[-1]

    model = build("gpt2", residual_layers=[2, 0], residuals="both", residual=factory)
    assert [m for _, m in model.named_modules() if isinstance(m, Residual)] == made


def test_opening_the_seam_keeps_the_mode_and_warns() -> None:
    model = stock("gpt2").eval()  # from_pretrained returns a model in eval mode
    with pytest.warns(UserWarning, match=r"eval mode.* call model.train\(\)"):
        open_seam(model, residual=COLLIDING)
    assert not any(module.training for module in model.modules())
    open_seam(model, residual=Add)  # and it can be opened again
    assert seams(model) == []


def test_an_invalid_choice_is_named() -> None:
    with pytest.raises(ValueError, match="family='gpt3': one of 'gpt2', 'qwen2'"):
        build_language_model("gpt3", **SIZES)
    with pytest.raises(IndexError):
        build("gpt2", residual_layers=[3])


def test_cross_attention_stays_as_it_is() -> None:
    model = build("gpt2", add_cross_attention=True, residual=COLLIDING)
    seen = torch.zeros(2, 3, 16)
    model(TOKENS, encoder_hidden_states=seen).logits.sum().backward()
    assert all(model.get_submodule(name).collisions.partners > 0 for name in seams(model))


@families
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_from_the_meta_device_weights_are_tied_and_frequencies_exact(family: str, dtype: torch.dtype) -> None:
    with torch.device("meta"):
        model = build(family)
    materialise(model, "cpu").to(dtype)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert float(model.get_input_embeddings().weight.detach().float().std()) == pytest.approx(0.02, rel=0.2)
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    if family == "qwen2":
        exact = 1.0 / (1e6 ** (torch.arange(0, 8, 2, dtype=torch.float32) / 8))
        assert model.model.rotary_emb.inv_freq.dtype == torch.float32
        assert torch.equal(model.model.rotary_emb.inv_freq, exact)


def test_frequencies_survive_a_cast_that_rounds_weights() -> None:
    model = build("qwen2")
    before = model.model.rotary_emb.inv_freq.clone()
    assert torch.equal(model.bfloat16().float().model.rotary_emb.inv_freq, before)
    rounded = stock("qwen2").bfloat16().float().model.rotary_emb.inv_freq
    assert not torch.equal(rounded, before)  # what it prevents


@families
def test_tied_weights_are_stored_once_and_load_tied(family: str) -> None:
    model = build(family)
    embedding = {"gpt2": "transformer.wte.weight", "qwen2": "model.embed_tokens.weight"}[family]
    assert tied_names(model) == {"lm_head.weight": embedding}
    stored = stored_once(model)
    assert "lm_head.weight" not in stored
    assert embedding in stored
    other = build(family)
    other.load_state_dict(with_tied_names(other, stored), strict=True)
    assert other.lm_head.weight is other.get_input_embeddings().weight
    assert torch.equal(other.lm_head.weight, model.lm_head.weight)
    untied = build(family, tied=False)
    assert tied_names(untied) == {}
    assert "lm_head.weight" in stored_once(untied)


@families
def test_a_tied_head_is_refused_by_the_name_of_what_it_is_tied_to(family: str) -> None:
    with pytest.raises(ValueError, match=r"lm_head.weight is tied to the embedding '\w+\.(wte|embed_tokens).weight'"):
        kiti.matrices(build(family), "lm_head.weight")


@families
def test_a_folder_continues_with_float32_weights(family: str, tmp_path: Path) -> None:
    theirs = stock(family).bfloat16()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    model = build(family, path=str(tmp_path), residual=COLLIDING)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.training
    assert len(seams(model)) == 3
    for name, value in theirs.state_dict().items():
        assert torch.equal(model.state_dict()[name], value.float()), name
    with pytest.raises(FilesError, match="has other sizes than the configuration; if they are meant"):
        build(family, path=str(tmp_path), width=32)
    other = "qwen2" if family == "gpt2" else "gpt2"
    with pytest.raises(FilesError, match=f"a model of type {family}, and model.family={other}"):
        build(other, path=str(tmp_path))


COMPILED = """
import torch
from functools import partial
from kiti.models.language_model import build_language_model
from kiti.residual import Add, KITIResidual

sizes = dict(vocab_size=31, positions=16, width=16, layers=2, heads=2, ffn=32, **{more})
tokens = torch.randint(1, 31, (2, 12), generator=torch.Generator().manual_seed(1))
seen = torch.ones(2, 1, 12, 12, dtype=torch.bool).tril()

def step(residual, compiled):
    torch.manual_seed(0)
    model = build_language_model({family!r}, **sizes, residual=residual)
    if compiled:
        model.compile(fullgraph=True, backend="aot_eager")
    logits = [model(input_ids=tokens, use_cache=False).logits]
    places = torch.arange(12)[None]
    logits.append(model(input_ids=tokens, attention_mask=seen, position_ids=places, use_cache=False).logits)
    sum(each.logsumexp(-1).sum() for each in logits).backward()
    return *logits, *(p.grad for p in model.parameters())

torch.testing.assert_close(step(Add, True), step(Add, False))
colliding = step(partial(KITIResidual, 2, 0.9), True)
assert all(each.isfinite().all() for each in colliding)
assert not torch.equal(colliding[0], step(Add, True)[0])
"""


@families
@pytest.mark.slow
def test_compiles_without_a_graph_break_to_the_same_step(family: str) -> None:
    """In a process of its own, as torch.compile cannot trace the type checks of the tests."""
    code = COMPILED.format(family=family, more=MORE[family])
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_keeps_another_activation(tmp_path: Path) -> None:
    other = GPT2LMHeadModel(GPT2Config(**stock("gpt2").config.to_diff_dict() | {"activation_function": "relu"}))
    other.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert build("gpt2", path=str(tmp_path)).config.activation_function == "relu"


def test_gpt2s_activation_is_that_of_its_configurations_up_to_rounding() -> None:
    model = build("gpt2")
    theirs = GPT2LMHeadModel(GPT2Config(**model.config.to_diff_dict() | {"activation_function": "gelu_new"}))
    assert type(theirs.transformer.h[0].mlp.act) is not type(model.transformer.h[0].mlp.act)
    theirs.load_state_dict(model.state_dict())
    logits = [each.eval()(TOKENS).logits for each in (model, theirs)]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-6)
