"""The recipes for ImageNet-1k are the published ones, value for value."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from kiti.configuration.compose import Composed, compose

# Wightman, Touvron, Jégou: ResNet strikes back. arXiv:2110.00476, Table 2, column A2. No command by its authors
# was found: the values were checked against those who trained with A2 and timm v0.5.4, the first release after it.
#   mmpretrain  configs/resnet/resnet50_8xb256-rsb-a2-300e_in1k.py and its bases: 79.55 %, top-5 94.37 %
#   openmixup   configs/classification/imagenet/resnet/resnet50_rsb_a2_sz224_8xb256_ep300.py and its bases
#   ML-Decoder, SpatialBias    the arguments for timm's train.py in their READMEs, except heads and learning rates
A2 = {
    # In all four, where they mention it.
    "trainer.max_epochs": 300,  # Epochs
    "optimizer._target_": "timm.optim.Lamb",  # Optimizer
    "scheduler._target_": "kiti.tasks.schedules.WarmupCosine",  # LR decay: cosine
    "scheduler.warmup_epochs": 5,  # Warmup epochs
    "optimizer.weight_decay": 0.02,  # Weight decay
    "task.label_smoothing": 0.0,  # Label smoothing: none
    "model.drop_path": 0.05,  # Stoch. Depth
    "task.mixup": 0.1,  # Mixup alpha
    "task.cutmix": 1.0,  # Cutmix alpha
    "data.re_prob": 0.0,  # Erasing prob.: none
    "task.loss": "binary_cross_entropy",  # BCE loss
    "data.auto_augment": "rand-m7-mstd0.5-inc1",  # Rand Augment 7 / 0.5: --aa
    "data.repeats": 3,  # Repeated Aug.: --aug-repeats 3
    # In mmpretrain and openmixup.
    "data.resolution": 224,  # Train Res
    "data.test_resolution": 224,  # Test Res
    "data.batch_size": 2048,  # Batch size
    "optimizer.lr": 5e-3,  # LR
    "data.crop_pct": 0.95,  # Test crop ratio: 236 pixels; that of resnet50.a2_in1k in timm too
    # The table's; timm and mmpretrain use it by default.
    "trainer.gradient_clip_val": None,  # Gradient Clip.: none
    "data.hflip": 0.5,  # H. flip
    "data.scale": [0.08, 1.0],  # RRC, by its usual area
    "data.color_jitter": None,  # ColorJitter: none, which timm leaves out beside RandAugment
    "averaging": {},  # EMA, SWA: none
    # In openmixup, ML-Decoder and SpatialBias.
    "trainer.precision": "16-mixed",  # Mixed precision
    # In ML-Decoder and SpatialBias: --bce-target-thresh 0.2, so that every class of a mixed image is a target (section
    # 3). mmpretrain leaves mixed targets as they are.
    "task.target_threshold": 0.2,
    # Left to timm by the table: train.py, cosine_lr.py, lamb.py, optim_factory.py and resnet.py of v0.5.4, by their
    # defaults. Of the four only SpatialBias names a warmup_lr, this one; mmpretrain's and openmixup's min_lr are this.
    # Another default, ten epochs of cooldown at min_lr, is not in the table's 300 and is not used here.
    "scheduler.warmup_lr": 1e-4,
    "scheduler.min_lr": 1e-6,
    "scheduler.under_warmup": True,
    "scheduler.each": "epoch",
    "optimizer.betas": [0.9, 0.999],
    "optimizer.eps": 1e-6,
    "optimizer.max_grad_norm": 1.0,  # within LAMB itself
    "task.decay_vectors": False,
    "model.zero_init_residual": True,
    # In mmpretrain, openmixup and ML-Decoder, and timm's test of resnet50.a2_in1k; timm's default in training is
    # bilinear or bicubic at random.
    "data.interpolation": "bicubic",
    # KO 4.2 and its Table 2.
    "model.depth": 50,
    "model.stem": "imagenet",
    "model.num_classes": 1000,
    "neurons": ["fc.weight"],
}

CONVNEXT = {
    # Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s. arXiv:2201.03545, Table 5. Each value is in
    # its code too, facebookresearch/ConvNeXt: a default of main.py, or an argument in TRAINING.md (batch size, EMA,
    # stochastic depth).
    "data.resolution": 224,  # input
    "optimizer._target_": "torch.optim.AdamW",  # optimizer
    "optimizer.lr": 4e-3,  # base learning rate
    "optimizer.weight_decay": 0.05,  # weight decay
    "optimizer.betas": [0.9, 0.999],  # optimizer momentum
    "data.batch_size": 4096,  # batch size
    "trainer.max_epochs": 300,  # training epochs
    "scheduler._target_": "kiti.tasks.schedules.WarmupCosine",  # learning rate and warmup schedule: cosine, linear
    "scheduler.warmup_epochs": 20,  # warmup epochs
    "data.auto_augment": "rand-m9-mstd0.5-inc1",  # randaugment (9, 0.5)
    "task.mixup": 0.8,  # mixup
    "task.cutmix": 1.0,  # cutmix
    "data.re_prob": 0.25,  # random erasing
    "task.label_smoothing": 0.1,  # label smoothing
    "model.layer_scale": 1e-6,  # layer scale
    "trainer.gradient_clip_val": None,  # gradient clip: none
    "averaging": {"_target_": "kiti.training.averaging.ExponentialAverage", "decay": 0.9999},  # exp. mov. avg. (EMA)
    # Values that the table leaves to the defaults of main.py and datasets.py of facebookresearch/ConvNeXt.
    "task.loss": "cross_entropy",
    "task.target_threshold": None,
    "scheduler.warmup_lr": 0.0,
    "scheduler.min_lr": 1e-6,
    "scheduler.under_warmup": False,
    "scheduler.each": "step",
    "task.decay_vectors": False,
    "data.interpolation": "bicubic",
    "data.re_mode": "pixel",
    "data.crop_pct": 224 / 256,
    "data.test_resolution": 224,
    "data.repeats": 1,
    "data.hflip": 0.5,
    "data.scale": [0.08, 1.0],
    "trainer.precision": "32-true",
    # KO 4.2 and its Table 2.
    "model.num_classes": 1000,
    "neurons": ["head.fc.weight"],
}

RECIPES: dict[str, dict[str, Any]] = {
    "imagenet_resnet50": A2,
    "imagenet_convnext_tiny": CONVNEXT | {"model.size": "tiny", "model.drop_path": 0.1},  # stochastic depth: T, S
    "imagenet_convnext_small": CONVNEXT | {"model.size": "small", "model.drop_path": 0.4},
}


@pytest.fixture(scope="module", params=RECIPES)
def composed(request: pytest.FixtureRequest) -> Composed:
    return compose([f"experiment={request.param}", "collision=hard"])


def test_every_value_is_the_published_one(composed: Composed) -> None:
    for key, published in RECIPES[composed.experiment].items():
        found = OmegaConf.select(composed.node, key)
        found = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
        assert found == published, key


def test_every_value_of_the_recipe_is_checked(composed: Composed) -> None:
    """Every training key is in the table, or only says where files are or how the run is executed."""
    elsewhere = {"path", "format", "data_dir", "classes", "workers", "eval_batch_size", "seed"}  # of the data
    elsewhere |= {"blocks", "width", "head", "head_activation", "head_gamma", "depths", "dims"}
    elsewhere |= {"dit_stage", "pixels", "lr_multipliers", "channels_last"}  # of the model: Dit-ResNets, memory
    elsewhere |= {
        "_target_",
        "_partial_",
        "epochs",
        "accumulate_grad_batches",
        "deterministic",
        "accelerator",
        "sync_batchnorm",
        "strategy",
        "val_check_interval",
        "fused",
    }
    idle = {"re_mode"} if not composed.node.data.re_prob else set()
    idle |= {"color_jitter"} if composed.node.data.auto_augment else set()
    for group in ("data", "model", "task", "optimizer", "scheduler", "trainer"):
        keys = set(composed.node[group]) - elsewhere - idle
        checked = {key.split(".")[1] for key in RECIPES[composed.experiment] if key.startswith(f"{group}.")}
        assert keys <= checked, group


def test_a_smoke_run_differs_only_in_size(composed: Composed) -> None:
    smoke = compose([f"experiment={composed.experiment}", "scale=smoke"])
    sizes = {"data.classes", "data.resolution", "data.test_resolution", "data.batch_size", "model.num_classes"}
    sizes |= {"model.depth", "model.depths", "model.dims", "trainer.max_epochs", "trainer.precision"}
    sizes |= {"scheduler.warmup_epochs", "averaging"}
    for key, published in RECIPES[composed.experiment].items():
        if key not in sizes:
            found = OmegaConf.select(smoke.node, key)
            found = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
            assert found == published, key
