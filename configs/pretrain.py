"""Pretrain one proxy task or a pool on any data, and fine-tune the result.

    python main.py --config=configs/pretrain.py --config.tasks=rotation
    python main.py --config=configs/pretrain.py:folder --config.data.path=FOLDER \\
        --config.tasks=simclr,rotation --config.backbone.name=resnet18

The word after the colon is the data source (digits, folder, stl10). The default is the digits
inside scikit-learn, which take about a minute on two CPU cores.
"""

from ml_collections import ConfigDict

from assl_jax.config import base_config, no_flips


def get_config(data: str = "digits") -> ConfigDict:
    config = base_config(data)
    config.experiment = "pretrain"
    config.tasks = "rotation"
    config.backbone.name, config.backbone.width, config.backbone.stem = "resnet10", 0.25, "half"
    config.pretrain.batch_size = 64
    config.pretrain.steps = 300
    config.target.steps, config.target.batch_size = 60, 32
    config.target.learning_rate = 1e-3
    config.target.shift = 2
    config.checkpoint_every = 100
    if data == "digits":
        no_flips(config)
    return config
