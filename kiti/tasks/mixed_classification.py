"""Image classification with mixed pairs of images, as in the recipes for ImageNet."""

from typing import Any

from timm.data import Mixup
from timm.loss import BinaryCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor

from kiti.collision.rules import check_choice
from kiti.tasks.classification import Classification, Labelled
from kiti.tasks.global_batch import mean_loss

LOSSES = ("cross_entropy", "binary_cross_entropy")


class MixedClassification(Classification):
    """Mixes each batch with its reverse by timm's Mixup or CutMix with equal probability; tested as Classification.

        mixup:   image <- l image + (1 - l) other,  target likewise        l ~ Beta(mixup, mixup)
        cutmix:  a box with a share 1 - l of the image is from the other    l ~ Beta(cutmix, cutmix)

    Args:
        mixup, cutmix: see above; 0 turns it off.
        classes: number of logits of the model.
        loss: "cross_entropy" with the mixed target, or "binary_cross_entropy" averaged over classes.
        target_threshold: sets the mixed target of a class to 1 if it is above this, else to 0; None leaves it as it
            is. For the binary cross-entropy only.
        label_smoothing: as for Classification, applied before mixing.
        task: as for Task.

    Raises:
        ValueError: `loss` is unknown, mixup and cutmix are both 0, or a threshold is given for the cross-entropy; in
            training, if a rank's share of a batch is odd.
    """

    def __init__(
        self,
        *args: Any,
        mixup: float,
        cutmix: float,
        classes: int,
        loss: str = "cross_entropy",
        target_threshold: float | None = None,
        **task: Any,
    ) -> None:
        super().__init__(*args, **task)
        check_choice("loss", loss, LOSSES)
        if not (mixup or cutmix):
            raise ValueError("mixup=0 and cutmix=0: use task=classification to train without mixing")
        if loss == "cross_entropy" and target_threshold is not None:
            raise ValueError(f"target_threshold={target_threshold} is only for loss=binary_cross_entropy")
        self.mix = Mixup(mixup, cutmix, label_smoothing=self.label_smoothing, num_classes=classes)
        binary = BinaryCrossEntropy(target_threshold=target_threshold)
        self.mixed_loss = binary if loss == "binary_cross_entropy" else SoftTargetCrossEntropy()

    def training_step(self, batch: Labelled, batch_idx: int) -> Tensor:
        images, labels = batch
        if len(images) % 2:
            raise ValueError(f"a batch of {len(images)} on each rank is odd: images are mixed in pairs")
        mixed, targets = self.mix(images, labels)
        loss = mean_loss(self.mixed_loss(self.model(mixed), targets), len(images))
        self.train_loss.update(loss.detach())
        return loss
