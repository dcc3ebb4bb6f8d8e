"""Hydra's command line: each option works, or one true line says why not."""

import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kiti.configuration.command import command
from kiti.configuration.compose import Composed
from kiti.configuration.explain import ConfigError
from kiti.configuration.hydra_options import prepared
from kiti.launching.sweep import Sweep
from kiti.storage import stop_signals
from kiti.storage.exit_status import ExitStatus

RUN = ["experiment=burgers", "scale=smoke"]
Train = Callable[..., tuple[int, str, str]]


@command("train", Sweep)
def shown(composed: Composed) -> ExitStatus:
    """kiti-train without training: what a job sees."""
    logging.getLogger("kiti").debug("a word of kiti's")
    logging.getLogger("other").debug("a word of another's")
    print(composed.experiment, composed.checked.trainer.max_epochs, os.environ.get("GIVEN"))
    return ExitStatus.FINISHED


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Train]:
    """Its exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITI_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # which the command sets
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in ("kiti", "other")]
    before = root.handlers[:], root.level

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kiti-train", *arguments])
        status = 0
        with stop_signals.kept():
            try:
                shown()
            except SystemExit as end:
                status = int(end.code or 0)
        for logger in loggers:
            logger.setLevel(logging.NOTSET)
        return status, *capsys.readouterr()

    yield run
    root.handlers[:], root.level = before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["hydra/launcher=nosuch"], "hydra/launcher=nosuch: no such option; there are basic"),
        (["hydra/job_logging=nosuch"], "hydra/job_logging=nosuch: no such option; there are default, disabled, none"),
        (["hydra.nosuch=1"], "hydra.nosuch: no such key; --cfg hydra shows those of Hydra"),
        (["~seed"], "seed: every run needs it, so ~seed is not possible"),
        (
            ["+trainer.fast_dev_run=true"],
            "trainer.fast_dev_run: kiti does not offer this key for pytorch_lightning.Trainer; there are max_epochs, ",
        ),
        (
            ["+optimizer.amsgrad=true"],
            "optimizer.amsgrad: kiti does not offer this key for torch.optim.Adam; there are lr, betas, weight_decay",
        ),
        (["-m", "seed=glob(*)"], "seed: glob(...) chooses among a group's options, which this is not"),
        (["-m", "residual=glob(x*)"], "residual: glob(...) matches none of add, dropout, kicks_only, kiti, "),
        (["seed=0,1"], "seed=0,1: several values need -m, which makes a run of each; a list is seed=[0,1]"),
        (["experiment=[burgers,heat]"], "experiment=[burgers,heat]: one option; of several a sweep makes a run each"),
        (["--run", "-m"], "Only one of --run, --multirun, --cfg, --info and --shell_completion can be specified"),
        (["--resolve"], "The --resolve flag can only be used in conjunction with --cfg or --help"),
        (["--package", "seed"], "--package seed says what --cfg shows: add --cfg job"),
        (["--experimental-rerun", "job.pickle"], "--experimental-rerun is not offered: it unpickles a file"),
        (["--shell-completion"], "Expecting one subcommand from ['install', 'uninstall', 'query'] to be set"),
        (
            ["--config-name", "nosuch"],
            "Cannot find primary config 'nosuch'. Check that it's in your config search path.",
        ),
        (["--config-dir", "/nosuch"], "Additional config directory '/nosuch' not found"),
        (["--config-path", "/nosuch"], "Primary config directory not found."),
        (["--cfg", "nosuch"], "--cfg/-c: invalid choice: 'nosuch'"),
        (["--nosuch"], "unrecognized arguments: --nosuch"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_does_not_work_is_answered_in_one_line(arguments: list[str], line: str, train: Train) -> None:
    status, out, err = train(*RUN, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"kiti-train: {line}")
    assert err.count("\n") == 1


def test_an_unpickling_option_never_opens_its_file(tmp_path: Path, train: Train) -> None:
    class Hostile:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "job.pickle").write_bytes(pickle.dumps(Hostile()))
    assert train("--experimental-rerun", str(tmp_path / "job.pickle"))[0] == 2
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--cfg", "job", "--package", "trainer"], "max_epochs: 2"),
        (["--cfg", "job", "--resolve", "--package", "data.seed"], "0"),
        (["--cfg", "hydra", "--package", "hydra.job"], "name: train"),
        (["--cfg", "hydra", "--package", "hydra.job", "hydra.job.name=mine"], "name: mine"),
        (["--cfg", "all", "--package", "hydra.runtime.choices.experiment"], "burgers"),
        (["--info", "defaults"], "| experiment/burgers"),
        (["--info"], "Config search path"),
        (["--hydra-help"], "See https://hydra.cc for more info."),
        (["--shell-completion", "install=bash"], "hydra_bash_completion"),
        (["--version"], "Hydra 1."),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_options_that_show_something(arguments: list[str], shown: str, train: Train) -> None:
    given = arguments if "install=bash" in arguments else [*arguments, *RUN]
    status, out, err = train(*given)
    assert status == 0, err
    assert shown in out


def test_bash_completes_options_and_keys(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    for typed, completed in (("residual=k", "residual=kiti_acceleration"), ("trainer.max_e", "trainer.max_epochs=")):
        monkeypatch.setenv("COMP_LINE", f"kiti-train experiment=burgers {typed}")
        assert completed in train("--shell-completion", "query=bash")[1].split()


def test_flags_may_stand_between_overrides(train: Train) -> None:
    assert "max_epochs: 7" in train("experiment=burgers", "--cfg", "job", "scale=smoke", "trainer.max_epochs=7")[1]


def test_a_directory_of_configurations_is_added(tmp_path: Path, train: Train) -> None:
    (tmp_path / "conf" / "trainer").mkdir(parents=True)
    (tmp_path / "conf" / "trainer" / "short.yaml").write_text("defaults: [default]\nmax_epochs: 1\n")
    status, out, err = train(*RUN, "--config-dir", str(tmp_path / "conf"), "trainer=short", "trainer.max_epochs=3")
    assert (status, out) == (0, "burgers 3 None\n"), err


@pytest.mark.parametrize(
    "given", ["hydra.job.env_set.GIVEN=7", "+hydra.job.env_set.GIVEN=7", "hydra.job.env_set={GIVEN: 7}"]
)
def test_a_job_has_the_variables_that_hydra_sets(given: str, train: Train) -> None:
    status, out, err = train(*RUN, given)
    assert (status, out) == (0, "burgers 2 7\n"), err


def test_callbacks_are_told_of_jobs(train: Train) -> None:
    callback = "hydra.callbacks.log._target_=hydra.experimental.callbacks.LogJobReturnCallback"
    status, _, err = train(*RUN, callback, "hydra.verbose=true")
    assert status == 0
    assert "[hydra.experimental.callbacks.LogJobReturnCallback][INFO] Succeeded with return value: None" in err


def test_hydra_verbose_fills_the_log(tmp_path: Path, train: Train) -> None:
    quiet = train(*RUN)[2]
    assert quiet == ""
    assert "[kiti][DEBUG] a word of kiti's" in train(*RUN, "hydra.verbose=true")[2]
    one = train(*RUN, "hydra.verbose=[kiti]")[2]
    assert "a word of kiti's" in one
    assert "a word of another's" not in one
    train(
        *RUN, "hydra.verbose=true", "hydra/job_logging=default", "hydra.job.name=mine", f"hydra.run.dir={tmp_path}/logs"
    )
    assert "a word of another's" in (tmp_path / "logs" / "mine.log").read_text()
    assert "a word of kiti's" in train(*RUN, "hydra.verbose=true", "hydra/job_logging=stdout")[1]


def test_values_of_a_sweep_wait_for_its_members() -> None:
    given = prepared(
        ["-m", "experiment=burgers,heat", "data.n_train=40", "seed=1", "+neurons=[a,b]", "hydra.verbose=true"]
    )
    assert given.sweeping
    assert given.swept == ("experiment",)
    assert given.arguments[1:] == [
        "experiment=burgers,heat",
        "data.n_train=choice(40)",
        "seed=1",
        "+neurons=[a,b]",
        "hydra.verbose=true",
    ]


def test_a_glob_leaves_out_what_is_no_option() -> None:
    [_, glob] = prepared(["-m", "residual=glob(*)"]).arguments
    assert glob == "residual=glob([*],exclude=[_*])"


def test_a_list_of_a_sweep_stays_one_value() -> None:
    assert prepared(["-m", "data.scale=[0.1,1]"]).arguments == ["--multirun", "data.scale=choice([0.1,1])"]
    with pytest.raises(ConfigError, match="several values need -m"):
        prepared(["data.n_train=range(3)"])
