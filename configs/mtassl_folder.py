"""Algorithm 1 on your own folder of images.

    python main.py --config=configs/mtassl_folder.py --config.data.path=FOLDER

FOLDER holds `unlabeled/**`, `train/<class>/*` and `test/<class>/*`. Without `test/`, a share of
`train/` is kept for testing. Images of different sizes need `--config.data.side=96`, images with
different channels `--config.data.channels=3`, images of 16 bits `--config.data.window="(0,4095)"`.
If several images are of one patient, say how a path names the patient:
`--config.data.patient='([^/]+)/[^/]+$'` takes the last folder. The defaults suit photographs of 64
to 128 pixels and one GPU. For small images and a CPU, docs/results.md has the settings of a run on
45,000 images of 32x32.
"""

from ml_collections import ConfigDict

from assl_jax.config import base_config


def get_config() -> ConfigDict:
    config = base_config("folder")
    config.data.cache = "cache"
    config.backbone.name = "resnet18"
    config.backbone.stem = "imagenet"
    config.pretrain.mixing = "distil"
    config.pretrain.steps, config.pretrain.batch_size = 20_000, 128
    config.pretrain.learning_rate = 1e-3
    config.target.steps, config.target.batch_size = 1_000, 128
    config.target.learning_rate = 1e-4
    config.target.shift, config.target.flip = 4, True
    return config
