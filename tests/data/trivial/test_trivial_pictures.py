"""Predictors of classes: the frequencies of the classes, and logistic regression on the first pictures."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from kiti.data.trivial import trivial_pictures
from kiti.data.trivial.trivial_pictures import class_scores


def pictures(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Of classes 0, 1 and 3 of four, each with a bright row of its own."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.tensor([3, 0, 3, 1]).repeat(number // 4)
    images = torch.randint(0, 120, (number, 3, 4, 4), generator=draw, dtype=torch.uint8)
    images[torch.arange(number), :, labels] += 100
    return images, labels


def test_the_most_frequent_class_and_the_entropy_of_the_classes() -> None:
    train, (images, labels) = pictures(40, 0), pictures(20, 1)
    scores = class_scores(train, images, 4)["majority"]
    assert scores.argmax(1).tolist() == [3] * 20
    loss = torch.nn.functional.cross_entropy(scores, labels)
    assert float(loss) == pytest.approx(1.5 * np.log(2), rel=1e-6)  # of shares 1/2, 1/4, 1/4


def test_it_is_scikit_learns_on_the_first_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trivial_pictures, "ROWS", 24)
    (images, labels), (new, _) = pictures(40, 0), pictures(20, 1)
    scores = class_scores((images, labels), new, 4)["logistic_regression"]
    first = (images[:24].flatten(1) / 255).numpy()
    theirs = LogisticRegression(C=0.01).fit(first, labels[:24].numpy())
    expected = theirs.predict_log_proba((new.flatten(1) / 255).numpy())
    torch.testing.assert_close(scores[:, [0, 1, 3]], torch.from_numpy(expected).float(), rtol=1e-4, atol=1e-4)
    assert (scores[:, 2] < -1e3).all(), "a class without a picture"
    labels[24:], images[24:] = 0, 0  # which it does not see
    assert torch.equal(class_scores((images, labels), new, 4)["logistic_regression"], scores)


def test_pixels_that_tell_the_class_are_found() -> None:
    images, truth = pictures(200, 1)
    scores = class_scores(pictures(1000, 0), images, 4)["logistic_regression"]
    assert float((scores.argmax(1) == truth).float().mean()) > 0.95


def test_a_single_class_is_always_predicted() -> None:
    images, _ = pictures(8, 0)
    scores = class_scores((images, torch.full((8,), 2)), images, 4)["logistic_regression"]
    assert scores.argmax(1).tolist() == [2] * 8


def test_the_random_state_is_not_touched() -> None:
    torch.manual_seed(0)
    before, drawn = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    class_scores(pictures(40, 0), pictures(8, 1)[0], 4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (np.random.get_state()[1] == drawn).all()  # noqa: NPY002
