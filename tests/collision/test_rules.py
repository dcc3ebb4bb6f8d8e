"""`Rules`: its text form, and the signatures built from it."""

import inspect
from dataclasses import fields

import numpy as np
import pytest
import torch

from kiti import KITIResidual, collide
from kiti.collision.dispatch import collide_with_statistics
from kiti.collision.rules import Rules

X, V = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0))
SETTINGS = [field for field in fields(Rules) if field.init]


@pytest.mark.parametrize(
    "rules",
    [
        Rules(8, 0.5),
        Rules(1, 1, dt=2),
        Rules(3, np.float64(0.1) + np.float64(0.2), dt=1e-300),
        Rules(2, 0.0, -0.5, "strided", False, "max_one", "batch", "literal", "random", "kicks"),
    ],
)
def test_encoded_rules_are_read_back(rules):
    assert Rules.decode(rules.encoded) == rules
    assert Rules.decode(rules.encoded).encoded == rules.encoded


@pytest.mark.parametrize("function", [collide, collide_with_statistics, KITIResidual])
def test_help_shows_every_setting_with_its_default(function):
    parameters = inspect.signature(function).parameters
    until_calibrated = {"collision_heads", "coll_coef"} if function is KITIResidual else set()
    for setting in SETTINGS:
        if setting.name in until_calibrated:
            assert parameters[setting.name].default is None
            continue
        assert parameters[setting.name].default == getattr(Rules, setting.name, inspect.Parameter.empty)
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def test_collide_documents_every_setting_once():
    documented = collide.__doc__.split("Args:")[1]
    for setting in SETTINGS:
        assert documented.count(f"        {setting.name}: ") == 1


def test_rules_or_settings_but_not_both():
    generators = (torch.Generator().manual_seed(1) for _ in range(2))
    by_rules = collide(X, V, Rules(2, 0.9, reduction="mean"), generator=next(generators))
    by_name = collide(X, V, collision_heads=2, coll_coef=0.9, reduction="mean", generator=next(generators))
    assert torch.equal(by_rules, by_name)
    with pytest.raises(TypeError, match="dt: the rules are given"):
        collide(X, V, Rules(2, 0.9), dt=1.0)
    with pytest.raises(TypeError, match="coll_coef"):
        collide(X, V, collision_heads=2)
    with pytest.raises(TypeError, match="coll_cof"):
        collide(X, V, collision_heads=2, coll_coef=0.9, coll_cof=0.9)
