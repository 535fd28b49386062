"""Algorithm 1 on generated volumes like head CT: the 3D demonstration, in the form of Table 3.

    python main.py --config=configs/mtassl_phantom3d.py

1,000 unlabeled volumes of 16x28x28 voxels, 60 labels in four classes, 200 test volumes, a
quarter-width ResNet-10, the paper's five 3D tasks, a round and a student. The run says at its start
how long it takes; docs/results.md has the accuracies.
"""

from ml_collections import ConfigDict

from assl_jax.config import base_config


def get_config() -> ConfigDict:
    config = base_config("phantom_ct")
    config.data.volumes = 1200
    config.tasks = "rotation,sc_assl,rubiks_cube,cpc,models_genesis"
    config.backbone.name, config.backbone.width = "resnet10", 0.25
    config.backbone.stem = "quarter"
    config.pretrain.mixing, config.pretrain.budget = "distil", "compute"
    config.pretrain.steps, config.pretrain.batch_size = 1000, 16
    config.target.steps, config.target.batch_size = 100, 16
    config.pretrain.learning_rate = config.target.learning_rate = 3e-3
    config.target.folds, config.target.flip = 3, True
    config.task.rotation.all_rotations = False  # as many inputs a step as volumes
    config.task.cpc.crop_fraction = 0.6  # small patches: there are 27 of them
    config.task.models_genesis.width, config.task.models_genesis.coarse = 8, 2
    config.similarity.n = 1000
    config.student.share = 0.375
    config.search.budget = "12 singles"  # five, a round, and the student
    config.checkpoint_every = 500
    return config
