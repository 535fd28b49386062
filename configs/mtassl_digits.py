"""Algorithm 1 on the digits inside scikit-learn: the demonstration, with nothing to download.

    python main.py --config=configs/mtassl_digits.py

1,297 unlabeled images of 32x32, 100 labels, 500 test images, a quarter-width ResNet-10, four tasks,
rounds and a student. About four minutes on two CPU cores; docs/results.md has the accuracies.
"""

from ml_collections import ConfigDict

from assl_jax.config import base_config, no_flips


def get_config() -> ConfigDict:
    config = base_config("digits")
    config.backbone.name, config.backbone.width, config.backbone.stem = "resnet10", 0.25, "half"
    config.pretrain.mixing, config.pretrain.budget = "distil", "compute"
    config.tasks = "rotation,jigsaw,inpaint,simclr"
    config.pretrain.steps, config.pretrain.batch_size = 400, 64
    config.target.steps, config.target.batch_size = 60, 32
    config.target.learning_rate = 1e-3
    config.target.shift = 2
    config.similarity.n = 1024
    config.student.share = 0.375
    config.search.budget = "12 singles"  # four, two rounds, and the student
    no_flips(config)
    config.task.rotation.all_rotations = False  # as many inputs a step as images
    config.checkpoint_every = 300  # a pretraining takes seconds
    return config
