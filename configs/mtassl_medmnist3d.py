"""Algorithm 1 on a 3D data set of MedMNIST (Yang et al. 2023), or any npz in its layout.

    python main.py --config=configs/mtassl_medmnist3d.py --config.data.path=adrenalmnist3d.npz

The small classes of these sets are why decisions are made on the balanced accuracy. A half-width
ResNet-10 keeps the 28x28x28 sets within reach of a CPU; measured in docs/results.md.
"""

from ml_collections import ConfigDict

from assl_jax.experiment import base_config


def get_config() -> ConfigDict:
    config = base_config("npz")
    config.tasks = "sc_assl,rubiks_cube,cpc,rotation,models_genesis"
    config.backbone.name, config.backbone.width = "resnet10", 0.5
    config.pretrain.steps, config.pretrain.batch_size = 1_000, 32
    config.target.steps, config.target.batch_size = 300, 32
    config.target.learning_rate = 1e-3
    config.target.shift = 2
    config.task.rotation.all_rotations = False  # as many inputs a step as volumes
    config.search.metric = "balanced_accuracy"
    config.eval_batch_size = 64
    return config
