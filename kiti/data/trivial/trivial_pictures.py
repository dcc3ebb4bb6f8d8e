"""Predictors of a picture's class without a network: the most frequent class, and logistic regression on pixels."""

import warnings

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

ROWS = 2000
"""Logistic regression sees the first so many training pictures, so that it takes seconds."""

# Strength of the prior relative to scikit-learn's, for pixels between 0 and 1.
_C = 0.01
_ITERATIONS = 100

Pictures = tuple[UInt8[Tensor, "_ C Y X"], Int64[Tensor, "_"]]


def class_scores(
    train: Pictures, test: UInt8[Tensor, "n C Y X"], classes: int
) -> dict[str, Float[Tensor, "n classes"]]:
    """Logits of the test pictures, by predictor.

    - `majority`: the logarithms of the training classes' frequencies, so the most frequent class, and the first of
      several that are equally frequent;
    - `logistic_regression`: scikit-learn's multinomial one with C = 0.01 on the pixels, as parts of white, of the first
      `ROWS` training pictures; at most 100 iterations. A class that they do not have is never predicted.
    """
    # scikit-learn takes a second
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    images, labels = train
    frequency = labels.bincount(minlength=classes).double() / len(labels)
    found = {"majority": frequency.log().float().clamp(min=-1e4).expand(len(test), -1)}
    known = labels[:ROWS]
    scores = torch.full((len(test), classes), -1e4)
    if len(known.unique()) == 1:
        scores[:, known[0]] = 0
    else:
        regression = LogisticRegression(C=_C, max_iter=_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            regression.fit(_pixels(images[:ROWS]).numpy(), known.numpy())
        likely = torch.from_numpy(regression.predict_log_proba(_pixels(test).numpy()))
        scores[:, torch.from_numpy(regression.classes_)] = likely.float()
    return found | {"logistic_regression": scores}


def _pixels(images: UInt8[Tensor, "n C Y X"]) -> Float[Tensor, "n pixels"]:
    return images.flatten(1).float() / 255
