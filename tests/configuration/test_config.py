"""Every shipped YAML composes, code reads every key, and errors are reported in one line."""

import inspect
import itertools
import pickle
import subprocess
import sys
import tempfile
import typing
from functools import cache
from pathlib import Path

import pytest
import torch
from hub_commits import COMMITS
from hydra.utils import get_class, get_object

from kiti.collision.rules import CHOICES
from kiti.configuration.compose import compose
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CONF
from kiti.configuration.schema import CollisionDefaults
from kiti.configuration.schema.ko_keys import KOKeys
from kiti.ko import select
from kiti.residual_keys import CollidingKeys
from kiti.training import building
from kiti.units.keys import DECLARED, UnitKeys
from kiti.units.registry import import_declarations

EXPERIMENTS = sorted(p.stem for p in (CONF / "experiment").glob("*.yaml"))
SCALES = sorted(p.stem for p in (CONF / "scale").glob("*.yaml"))
EXISTING = [
    (experiment, scale)
    for experiment, scale in itertools.product(EXPERIMENTS, SCALES)
    if scale == "paper" or (CONF / "experiment" / "scale" / f"{experiment}_{scale}.yaml").is_file()
]
RESIDUALS = sorted(p.stem for p in (CONF / "residual").glob("[!_]*.yaml"))
COLLISIONS = sorted(p.stem for p in (CONF / "collision").glob("*.yaml"))
GROUPS = sorted(p.name for p in CONF.iterdir() if p.is_dir() and p.name not in {"experiment", "scale"})


@cache
def needed(experiment: str) -> tuple[str, ...]:
    """Overrides that an experiment requires: here, a file or folder in place of the published one."""
    if experiment in COMMITS:
        return COMMITS[experiment]
    if experiment == "airfoil":
        folder = Path(tempfile.mkdtemp())
        (folder / "meta.json").touch()
        return (f"data.path={folder}",)
    return (f"data.path={__file__}",) if experiment == "burgers_mat" else ()


@pytest.mark.parametrize(("experiment", "scale"), EXISTING)
def test_every_experiment_composes_at_every_scale_it_has(experiment: str, scale: str) -> None:
    composed = compose([f"experiment={experiment}", f"scale={scale}", *needed(experiment)])
    assert (composed.experiment, composed.scale) == (experiment, scale)


@pytest.mark.parametrize("scale", ["laptop", "smoke"])
def test_a_pickled_configuration_is_the_same(scale: str) -> None:
    composed = compose(["experiment=fashion_ko", f"scale={scale}", "residual=kiti", "collision=soft", "seed=2"])
    loaded = pickle.loads(pickle.dumps(composed))
    assert (loaded.checked, loaded.node, loaded.hash) == (composed.checked, composed.node, composed.hash)
    assert type(loaded.checked) is type(composed.checked)


@pytest.mark.parametrize(("experiment", "scale"), EXISTING)
def test_every_experiment_builds_its_model(experiment: str, scale: str) -> None:
    """On the meta device: shapes only. A smaller scale has no more parameters; named neurons and layers exist."""
    residual = "add" if experiment == "condensation_ko" else "kiti"  # which has no seam
    composed = compose([f"experiment={experiment}", f"scale={scale}", f"residual={residual}", *needed(experiment)])
    paper = compose([f"experiment={experiment}", "scale=paper", *needed(experiment)])
    with torch.device("meta"):
        model, full = building.model(composed), building.model(paper)
    count, most = (sum(p.numel() for p in one.parameters()) for one in (model, full))
    assert 0 < count <= most
    assert select(model, list(composed.node.neurons))
    followed = composed.checked.callbacks
    for layer in (*followed.condensation.layers, *followed.similarity.layers):
        model.get_submodule(layer)


@pytest.mark.parametrize(("residual", "collision"), list(itertools.product(RESIDUALS, COLLISIONS)))
def test_the_two_switches_are_orthogonal(residual: str, collision: str) -> None:
    compose(["experiment=burgers", f"residual={residual}", f"collision={collision}", "scale=smoke"])


def home(group: str, option: str) -> str:
    """An experiment with `override /group: option`, since data, model and task must match; else burgers."""
    if group == "model" and option in ("gpt2_5m", "qwen2_5m"):
        return f"{option[:5].rstrip('_')}_stand_ins"
    if group == "model" and option.startswith(("bert", "distilbert", "minilm")):
        return "bert_movie_reviews" if option.startswith("minilm") else "bert_imdb"
    if option == "fsdp2":
        return "gpt2_stand_ins"
    says = f"override /{group}: {option}\n"
    return next((name for name in EXPERIMENTS if says in (CONF / "experiment" / f"{name}.yaml").read_text()), "burgers")


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_of_every_group_composes(group: str) -> None:
    for option in sorted((CONF / group).glob("[!_]*.yaml")):
        experiment = home(group, option.stem)
        alone = ["callbacks.benchmarks.tasks=[]"] if option.stem == "fsdp2" else []
        compose([f"experiment={experiment}", f"{group}={option.stem}", *needed(experiment), *alone])


def declarations() -> list[type[UnitKeys]]:
    import_declarations()
    return [keys for keys in DECLARED.values() if keys.__module__.startswith("kiti.")]


@pytest.mark.parametrize("kind", declarations(), ids=lambda kind: kind.__name__)
def test_every_key_is_read(kind: type[UnitKeys]) -> None:
    """Every field of a declaration is a parameter of its target or of the target's bases."""
    name = kind.builds
    target = get_object(name)
    parameters = dict(inspect.signature(target).parameters)
    if inspect.isclass(target) and any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for base in get_class(name).__mro__[1:]:
            parameters |= inspect.signature(base.__init__).parameters
    keys = set(kind.model_fields) - {"target", "partial"}
    if kind is KOKeys:
        keys.remove("neurons")  # name patterns; the task selects the parameters they name
    assert keys <= set(parameters), f"{name} reads none of {keys - set(parameters)}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["residual=kiti", "residual.coll_cof=0.3"], "residual.coll_cof: no such key; close: residual.coll_coef"),
        (["residual=kiti", "residual.coll_coef=1.5"], "coll_coef=1.5: input should be less than or equal to 1"),
        (
            ["residual=kitti"],
            "residual=kitti: no such option; there are add, dropout, kicks_only, kiti, kiti_acceleration, means_only, "
            "noise, random_pairs, sparse_noise",
        ),
        (
            ["collision=soft", "collision.placebo=sugar"],
            "collision.placebo=sugar: input should be 'noise', 'random_pairs' or 'scale'",
        ),
        (["data.n_train=many"], "data.n_train=many: input should be a valid integer"),
        (["data.resolution=1000"], "resolution=1000 does not divide grid=8192"),
        (["+model.depth=3"], "model.depth: kiti does not offer this key for kiti.models.fno.FNO1d"),
        (["collision=hard", "collision.coll_coef=2"], "coll_coef=2.0 is outside [0, 1]"),
        (["trainer.accelerator=cpu", "trainer.precision=16-mixed"], "precision=16-mixed needs a GPU"),
        (
            ["scale=smoke", "trainer.accumulate_grad_batches=3"],
            "trainer.accumulate_grad_batches=3: an epoch has 2 batches; choose at most that many",
        ),
        (["seed=-1"], "seed=-1: input should be greater than or equal to 0"),
        (["seed=x"], "seed=x: input should be a valid integer"),
        (["trainer.max_epochs=null"], "trainer.max_epochs=None: input should be a valid integer"),
        (
            ["task=operator_rollout"],
            "differ in kind (BurgersData: pairs of functions, FNO1d",
        ),
        (["experiment=condensation_fc", "replicas=2", "data.batch_size=8"], "batch_size=80 takes all points"),
        (["replicas=2"], "replicas=2: kiti.models.fno.FNO1d trains one seed at a time; sweep with -m seed=0,1,2"),
        (
            ["experiment=imagenet_resnet50", "data.color_jitter=0.4"],
            "color_jitter=0.4: timm ignores it with",
        ),
        (
            ["experiment=imagenet_resnet50", "trainer.max_epochs=5"],
            "warmup_epochs=5 leaves none of 5 epochs for the cosine",
        ),
        (
            ["model=resnet"],
            "num_classes: Interpolation key 'data.classes' not found; do data, model and task go together?",
        ),
        (["data=null"], "a group=null among the overrides: give one of the group's options"),
        (["data=burgers_mat"], "data.path: missing; give it as data.path=<value>"),
        (
            ["experiment=bert_imdb"],
            "data.commit, model.commit: missing; give them as data.commit=<value> model.commit=<value>",
        ),
        (["data=burgers_mat", "data.path=/nowhere.mat"], "data.path=/nowhere.mat: path does not point to a file"),
    ],
)
def test_errors_are_reported_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose(["experiment=burgers", *overrides])
    assert message in str(error.value)
    assert not str(error.value).startswith("data.seed"), "the key that was given, not one that refers to it"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["residual.collision_heads=3"],
            "residual.collision_heads=3 does not divide D=1024 (system_axis=-1); near it: 2 or 4",
        ),
        (
            ["residual.system_axis=1", "residual.collision_heads=3"],
            "does not divide D=64 (system_axis=1); near it: 2 or 4",
        ),
        (["residual.system_axis=0"], "residual.system_axis=0 is not a feature axis; choose from 1 or -2, 2 or -1"),
        (["experiment=heat", "residual.collision_heads=3"], "does not divide D=1024 (system_axis=-1)"),
        (["experiment=airfoil_euler", "residual.collision_heads=3"], "does not divide D=128 (system_axis=-1)"),
        (["experiment=condensation_fc", "residual.collision_heads=3"], "does not divide D=50 (system_axis=-1)"),
        (["experiment=cifar_kitinet", "residual.collision_heads=3"], "does not divide D=512 (system_axis=1)"),
        (["experiment=cifar_kitinet", "residual.system_axis=-1"], "is not a feature axis; choose from 1 or -3"),
        (["experiment=imagenet_convnext_tiny", "residual.collision_heads=5"], "does not divide D=768 (system_axis=1)"),
    ],
)
@pytest.mark.parametrize("residual", ["kiti", "noise", "kiti_acceleration"])
def test_the_model_names_the_residual_that_fits(overrides: list[str], message: str, residual: str) -> None:
    experiment = overrides[0] if overrides[0].startswith("experiment=") else "experiment=burgers"
    composed = compose([experiment, f"residual={residual}", *(one for one in overrides if one != experiment)])
    with torch.device("meta"), pytest.raises(ConfigError) as error:
        building.model(composed)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


COLLIDING = [kind for kind in declarations() if issubclass(kind, CollidingKeys)]


@pytest.mark.parametrize("kind", COLLIDING, ids=lambda kind: kind.__name__)
def test_yaml_schema_and_constructor_agree_on_every_setting(kind: type[UnitKeys]) -> None:
    """The same keys, choices and defaults, except defaults that an experiment sets itself.

    The option with the kind's own name has the defaults; others with its target change some.
    """
    name = kind.builds
    parameters = inspect.signature(get_object(name)).parameters
    nodes = {option: compose(["experiment=burgers", f"residual={option}"]).node.residual for option in RESIDUALS}
    node = nodes[kind.name]
    for other in nodes.values():
        assert other._target_ != name or set(other) - {"_target_", "_partial_"} == set(parameters)
    assert node._target_ == name
    assert set(kind.model_fields) - {"target", "partial"} == set(parameters)
    for key, parameter in parameters.items():
        field = kind.model_fields[key]
        if key not in CollisionDefaults.model_fields:
            assert node[key] == parameter.default, key
        assert field.is_required() or field.default == parameter.default, key
        if typing.get_origin(field.annotation) is typing.Literal:
            assert typing.get_args(field.annotation) == CHOICES[key], key


def test_data_and_model_must_agree_on_input_frames() -> None:
    with pytest.raises(ConfigError, match=r"model\.t_in=5 is not data\.frames_in=10"):
        compose(["experiment=heat", "model.t_in=5"])


def test_without_an_experiment_the_error_lists_them() -> None:
    with pytest.raises(ConfigError, match="is missing; there are airfoil, airfoil_euler, bert_boolq"):
        compose([])


def test_the_hash_covers_only_what_affects_the_result() -> None:
    base = compose(["experiment=burgers", "scale=smoke"])
    same = ["seed=3", "logger=tensorboard", "runs_dir=/elsewhere", "data_dir=/elsewhere", "trainer.accelerator=cpu"]
    for override in same:
        assert compose(["experiment=burgers", "scale=smoke", override]).hash == base.hash, override
    for override in ["residual=kiti", "collision=soft", "optimizer.lr=2e-3", "data.n_train=41", "trainer.max_epochs=3"]:
        assert compose(["experiment=burgers", "scale=smoke", override]).hash != base.hash, override


def test_neutral_keys_do_not_change_the_hash() -> None:
    """A key set to its neutral value gives the hash of the configuration without it."""
    base = compose(["experiment=burgers", "residual=kiti"])
    assert compose(["experiment=burgers", "residual=kiti", "residual.max_over=system"]).hash == base.hash
    assert compose(["experiment=burgers", "residual=kiti", "residual.max_over=batch"]).hash != base.hash
    both = ["residual.pairing=accepted", "residual.terms=both"]
    assert compose(["experiment=burgers", "residual=kiti", *both]).hash == base.hash


def test_every_placebo_is_kiti_or_noise_but_for_what_its_file_says() -> None:
    placebos = {
        "random_pairs": ("kiti", ["residual.pairing=random"]),
        "means_only": ("kiti", ["residual.terms=means"]),
        "kicks_only": ("kiti", ["residual.terms=kicks", "residual.position_update=false"]),
        "sparse_noise": ("noise", ["residual.sparse=true", "residual.detach_collision=false"]),
    }
    for placebo, (residual, overrides) in placebos.items():
        expected = compose(["experiment=burgers", f"residual={residual}", *overrides])
        assert compose(["experiment=burgers", f"residual={placebo}"]).hash == expected.hash


def test_a_value_override_composes_as_in_hydra() -> None:
    """compose() applies plain values itself, for speed; Hydra's full composition must agree."""
    fast = compose(["experiment=burgers", "residual=kiti", "residual.coll_coef=0.25", "data.n_train=50"])
    slow = compose(["experiment=burgers", "residual=kiti", "++residual.coll_coef=0.25", "++data.n_train=50"])
    assert fast.config == slow.config
    assert fast.hash == slow.hash


def test_the_seed_is_in_the_directory_but_not_the_hash(tmp_path: Path) -> None:
    composed = compose(["experiment=burgers", f"runs_dir={tmp_path}", "seed=1"])
    assert composed.run_dir == tmp_path / "burgers" / composed.hash / "seed-1"
    assert composed.run_dir_of(2) == tmp_path / "burgers" / composed.hash / "seed-2"
    other = compose(["experiment=burgers", f"runs_dir={tmp_path}", "seed=2"])
    assert other.run_dir == composed.run_dir_of(2)


def test_command_line_errors_take_one_line_and_do_not_import_torch(tmp_path: Path) -> None:
    """The schema is checked before torch is imported, so the answer is immediate."""
    program = (
        "import sys; sys.argv = ['kiti-train', 'experiment=burgers', 'residual=kiti', 'residual.coll_coef=7',"
        f" 'runs_dir={tmp_path}'];\n"
        "from kiti.train import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    print('torch' in sys.modules, end.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False 2"
    assert done.stderr.strip() == "kiti-train: residual.coll_coef=7: input should be less than or equal to 1"
    assert not list(tmp_path.iterdir()), "nothing is created before the configuration is valid"


def test_heads_that_do_not_divide_are_reported_in_one_line(tmp_path: Path) -> None:
    """Before any data are generated."""
    given = ["experiment=burgers", "residual=kiti", "residual.collision_heads=3", f"runs_dir={tmp_path}"]
    program = [sys.executable, "-m", "kiti.train", *given, f"data_dir={tmp_path}/data"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    message = "kiti-train: residual.collision_heads=3 does not divide D=1024 (system_axis=-1); near it: 2 or 4"
    assert done.stderr.strip() == message
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("program", ["train", "calibrate"])
def test_help_does_not_import_torch(program: str) -> None:
    code = (
        f"import sys; sys.argv = ['kiti-{program}', '--help']\nfrom kiti.cli.{program}_command import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("False"), done.stderr
    assert "experiment" in done.stdout
    assert "_colliding" not in done.stdout


def test_a_resnet_too_narrow_for_channels_last_is_refused():
    run = ["experiment=cifar_kitinet", "scale=smoke"]
    with pytest.raises(ConfigError, match=r"width=0.0625 gives 4 channels"):
        compose([*run, "model.width=0.0625"])
    compose([*run, "model.width=0.0625", "model.channels_last=false"])


def test_a_key_that_is_null_is_set_without_another_composition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes 0.2 s for every row of a table."""
    assert compose(["experiment=cifar_kitinet"]).config["model"]["dit_stage"] is None
    monkeypatch.setattr("hydra.compose", lambda *_, **__: pytest.fail("composed again"))
    assert compose(["experiment=cifar_kitinet", "model.dit_stage=4"]).config["model"]["dit_stage"] == 4


@pytest.mark.parametrize("model", [[], ["model=gpt2_5m"]])
def test_the_run_that_set_mm_continues_from_is_todays(model: list[str]) -> None:
    start = compose(["experiment=gpt2_stand_ins", "scale=laptop", *model])
    sheet = (Path(__file__).parents[2] / "experiments/kitinet/table2.yaml").read_text() if model else ""
    given = sheet or (CONF / "experiment/gpt2_set_mm.yaml").read_text()
    assert f"from_run{'=' if model else ': '}gpt2_stand_ins/{start.hash}" in given
