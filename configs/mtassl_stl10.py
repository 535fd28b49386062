"""Algorithm 1 on STL-10 with the paper's settings: Table 2.

    python main.py --config=configs/mtassl_stl10.py --config.data.path=stl10_binary

Section 5 of the paper gives: 100,000 unlabeled images of 96x96, 1,000 labels (fold 0 of the ten
predefined ones), 8,000 test images, ResNet-18, Adam, batch 128, learning rates 1e-3 (proxy) and
1e-4 (target). We chose the rest: 100 epochs of pretraining (78,125 steps), a cosine schedule, 2,000
steps of fine-tuning with random shift and flip.

The paper selects on the test set; `--config.search.select_on=test` does the same.
`--config.search.candidates=all` trains every row of Table 2.
`--config.data.folds="(0,1,2,3,4,5,6,7,8,9)"` uses all ten folds.

Needs a GPU. It has not been run at full length, so its time and accuracy are unknown.
"""

from ml_collections import ConfigDict

from assl_jax.config import base_config


def get_config() -> ConfigDict:
    config = base_config("stl10")
    config.backbone.name = "resnet18"
    config.backbone.stem = "imagenet"
    config.pretrain.mixing = "distil"
    config.pretrain.steps, config.pretrain.batch_size = 78_125, 128
    config.pretrain.learning_rate = 1e-3
    config.target.steps, config.target.batch_size = 2_000, 128
    config.target.learning_rate = 1e-4
    config.target.shift, config.target.flip = 8, True
    return config
