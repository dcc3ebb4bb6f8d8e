"""Which of kiti's models a stock library builds by itself, and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import timm
import torchvision
import transformers
from torch import nn

from kiti.models.convnext_keys import ConvNeXtKeys
from kiti.models.language_model import FAMILIES as LANGUAGE_MODELS
from kiti.models.language_model_keys import LanguageModelKeys
from kiti.models.resnet_keys import ResNetKeys
from kiti.models.text_classifier import FAMILIES as TEXT_CLASSIFIERS
from kiti.models.text_classifier_keys import TextClassifierKeys
from kiti.residual import Residual
from kiti.units.keys import ModelKeys

Library = Literal["torchvision", "timm", "transformers"]
CAUSAL = tuple(made.__name__ for _, made in LANGUAGE_MODELS.values())
"""transformers' names of the language models."""


class NotStock(ValueError):
    """Why a trained model cannot be exported, in one line."""


@dataclass(frozen=True)
class Stock:
    """The model `name` of `library`, built with `arguments`; those of transformers are its configuration's."""

    library: Library
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        if self.library == "timm":
            return timm.create_model(self.name, **self.arguments)  # type: ignore[no-any-return]
        if self.library == "transformers":
            made = getattr(transformers, self.name)
            return made(made.config_class(**self.arguments))  # type: ignore[no-any-return]
        constructor: Callable[..., nn.Module] = getattr(torchvision.models, self.name)
        return constructor(**self.arguments)

    @property
    def call(self) -> str:
        """How a user builds it, untrained."""
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        if self.library == "transformers":
            return f"transformers.{self.name}"
        if self.library == "timm":
            return f"timm.create_model({self.name!r}, {arguments})"
        return f"torchvision.models.{self.name}({arguments})"


def stock(model: ModelKeys, library: Library) -> Stock:
    """The stock model whose weights `model` has. Raises NotStock."""
    if isinstance(model, ResNetKeys):
        return _resnet(model, library)
    if isinstance(model, ConvNeXtKeys):
        return _convnext(model, library)
    if isinstance(model, TextClassifierKeys | LanguageModelKeys):
        if library != "transformers":
            raise NotStock(f"model={model.name} is transformers', not {library}'s; use --to transformers")
        families = TEXT_CLASSIFIERS if isinstance(model, TextClassifierKeys) else LANGUAGE_MODELS
        return Stock(library, families[model.family][1].__name__)
    raise NotStock(
        f"model={model.name} is in no such library; what can be exported is model=resnet with model.stem=imagenet, to "
        "torchvision and timm, model=convnext, to timm, and classifiers of texts and language models, to transformers"
    )


def require_addition(model: nn.Module, residual: str) -> None:
    """NotStock if the model's residuals do more than add x and v in eval mode, which stock models do."""
    model.eval()
    for name, module in model.named_modules():
        if isinstance(module, Residual) and not module.is_addition:
            settings = [f"dt={module.dt}"] if module.dt != 1 else []
            settings += ["drift_in_eval=true"] if getattr(module, "drift_in_eval", False) else []
            why = ", ".join(settings) or type(module).__name__
            raise NotStock(
                f"residual={residual} stays on at inference ({why}, at {name}), where a stock model adds x + v: its "
                "outputs would be others"
            )


def _resnet(model: ResNetKeys, library: Library) -> Stock:
    if library == "transformers":
        raise NotStock("model=resnet is torchvision's and timm's; use --to torchvision or --to timm")
    reasons = {
        "stem=cifar": (model.stem == "cifar", "begins with a 7x7 convolution of stride 2 and a max-pool"),
        f"width={model.width:g}": (model.width != 1, "has 64 channels in the stem"),
        f"head={model.head}": (bool(model.head), "has no hidden layers before the logits"),
        f"dit_stage={model.dit_stage}": (model.dit_stage is not None, "has no quadratic neurons"),
    }
    for setting, (differs, reason) in reasons.items():
        if differs:
            raise NotStock(f"model.{setting}: a ResNet of {library} {reason}")
    return Stock(library, f"resnet{model.depth}", {"num_classes": model.num_classes})


def _convnext(model: ConvNeXtKeys, library: Library) -> Stock:
    if library != "timm":
        raise NotStock(f"model=convnext is timm's, and {library} names its weights differently; use --to timm")
    stages = {"depths": model.depths, "dims": model.dims}
    given = {key: [*value] for key, value in stages.items() if value}
    return Stock("timm", f"convnext_{model.size}", {"num_classes": model.num_classes, **given})
