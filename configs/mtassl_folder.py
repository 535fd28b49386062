"""Algorithm 1 on your own folder of images.

    python main.py --config=configs/mtassl_folder.py:small --config.data.path=FOLDER
    python main.py --config=configs/mtassl_folder.py --config.data.path=FOLDER

`--dry_run` shows the images and how long it takes. With `small`, a small network sees images of
64 pixels and three tasks, which suits a CPU. Without it, the defaults suit photographs of 64 to 128
pixels and one GPU.

FOLDER holds `unlabeled/**`, `train/<class>/*` and `test/<class>/*`. Without `test/`, a share of
`train/` is kept for testing. Images of different sizes need `--config.data.side=96`, images with
different channels `--config.data.channels=3`, images of 16 bits `--config.data.window="(0,4095)"`.
If several images are of one patient, say how a path names the patient:
`--config.data.patient='([^/]+)/[^/]+$'` takes the last folder.
"""

from ml_collections import ConfigDict

from assl_jax.config import base_config
from assl_jax.errors import choice


def get_config(size: str = "large") -> ConfigDict:
    choice(size, ("large", "small"), "the word after mtassl_folder")
    config = base_config("folder")
    config.data.cache = "cache"
    config.backbone.name = "resnet18"
    config.backbone.stem = "imagenet"
    config.pretrain.mixing, config.pretrain.budget = "distil", "compute"
    config.pretrain.steps, config.pretrain.batch_size = 50_000, 128
    config.pretrain.learning_rate = 1e-3
    config.student.share = 0.375
    config.target.steps, config.target.batch_size = 1_000, 128
    config.target.learning_rate = 1e-4
    config.target.shift, config.target.flip = 4, True
    if size == "small":
        config.tasks = "rotation,inpaint,simclr"
        config.data.side, config.data.channels = 64, 3
        config.backbone.name, config.backbone.width, config.backbone.stem = "resnet10", 0.25, "half"
        config.pretrain.steps, config.pretrain.batch_size = 1_000, 64
        config.task.rotation.all_rotations = False  # as many inputs a step as images
        config.target.steps, config.target.batch_size = 150, 32
        config.target.learning_rate = 1e-3
    return config
