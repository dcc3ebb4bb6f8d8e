"""Every option in conf/ is declared, without torch; undeclared options are refused in one line."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from kiti.configuration.compose import compose
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CONF
from kiti.configuration.schema import GROUPS
from kiti.units import plugins
from kiti.units.keys import DECLARED
from kiti.units.registry import UndeclaredError, import_declarations, keys_of

TARGETS = sorted(
    {
        node["_target_"]
        for group in GROUPS
        for path in (CONF / group).glob("*.yaml")
        if "_target_" in (node := yaml.safe_load(path.read_text()) or {})
    }
)


@pytest.mark.parametrize("target", TARGETS)
def test_every_option_is_declared(target: str) -> None:
    assert keys_of(target).builds == target


def test_names_are_one_to_one_within_a_group() -> None:
    import_declarations()
    for group, base in GROUPS.items():
        names = Counter(k.name for k in DECLARED.values() if issubclass(k, base) and k.__module__.startswith("kiti."))
        assert "" not in names, group
        assert names.most_common(1)[0][1] == 1, names


def test_declarations_need_no_torch() -> None:
    code = (
        "import sys; from kiti.units.registry import keys_of\n"
        f"for target in {TARGETS}: keys_of(target)\n"
        "print(sorted({'torch', 'pytorch_lightning', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("os.system", "belongs to no enabled plug-in; --plugin"),
        ("mine.Net", "belongs to no enabled plug-in; --plugin"),
        ("kiti.models.language_model.Nothing", "is not registered: no keys class has builds"),
        ("kiti.nowhere.Net", "is not registered: no keys class has builds"),
    ],
)
def test_undeclared_options_are_refused(target: str, message: str) -> None:
    with pytest.raises(UndeclaredError, match=message):
        keys_of(target)
    with pytest.raises(ConfigError) as error:
        compose(["experiment=burgers", f"model._target_={target}"])
    assert str(error.value).startswith(f"model._target_: {target} ")
    assert "\n" not in str(error.value)


def test_an_option_of_another_group_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model._target_=kiti.residual.Add: belongs to residual; choose one with"):
        compose(["experiment=burgers", "model._target_=kiti.residual.Add"])


def test_a_fixed_node_takes_no_other_target() -> None:
    with pytest.raises(ConfigError, match=r"callbacks.progress._target_=os.system: must be .*Progress$"):
        compose(["experiment=burgers", "callbacks.progress._target_=os.system"])


def plugin_file(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def test_a_plug_in_without_a_declaration_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugins.VARIABLE, str(plugin_file(tmp_path, "undeclared_plugin", "class Net: pass\n")))
    with pytest.raises(UndeclaredError, match=r"undeclared_plugin.Net is not registered: no keys class has builds"):
        keys_of("undeclared_plugin.Net")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("broken_plugin", "import no_such_module_here\n", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("json", "", "has the same name 'json'; rename the plug-in"),
        (
            "nameless_plugin",
            "from kiti.units.keys import DataKeys\nclass K(DataKeys):\n    builds = 'nameless_plugin.Net'\n",
            "TypeError: K declares no name and no kind",
        ),
        (
            "greedy_plugin",
            "from kiti.units.keys import ResidualKeys\nclass K(ResidualKeys):\n"
            "    builds, name = 'kiti.residual.Add', 'add'\n",
            "TypeError: kiti.residual.Add is already declared by kiti.residual_keys",
        ),
    ],
)
def test_an_unusable_plug_in_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, message: str
) -> None:
    path = plugin_file(tmp_path, name, text)
    monkeypatch.setenv(plugins.VARIABLE, str(path))
    with pytest.raises(ConfigError) as error:
        compose(["experiment=burgers", f"model._target_={name}.Net"])
    assert f"plug-in {path}" in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("command", ["train", "table", "calibrate"])
def test_a_missing_plug_in_is_reported_in_one_line(command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != plugins.VARIABLE}
    given = [
        sys.executable,
        "-m",
        f"kiti.{command}",
        "--plugin",
        "/no/such.py",
        *(["kitinet/table4"] if command == "table" else ["experiment=burgers"]),
    ]
    done = subprocess.run(given, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        == f"kiti-{command}: plug-in /no/such.py: no Python file, no package and no installed module"
    )


def test_a_configuration_does_not_enable_a_plug_in(tmp_path: Path) -> None:
    """The file is where it would be found, but none of it runs."""
    marker = tmp_path / "ran"
    plugin_file(tmp_path, "sneaky_plugin", f"open({str(marker)!r}, 'w')\n")
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from kiti.configuration.compose import compose\n"
        "compose(['experiment=burgers', 'model._target_=sneaky_plugin.Net'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert "belongs to no enabled plug-in" in done.stderr
    assert not marker.exists()


def test_two_plug_ins_with_the_same_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        plugin_file(tmp_path / folder, "mine", "")
    monkeypatch.setenv(plugins.VARIABLE, f"{tmp_path}/a/mine.py{os.pathsep}{tmp_path}/b/mine.py")
    with pytest.raises(plugins.PluginError, match=r"b/mine.py: .*a/mine.py has the same name; rename one"):
        plugins.enabled()
