"""Algorithm 1 on a 3D data set of MedMNIST (Yang et al. 2023), or any npz file in its layout.

    python main.py --config=configs/mtassl_medmnist3d.py --config.data.path=adrenalmnist3d.npz

If it is not clear which axis holds the channels, set `--config.data.channels_axis`. Some classes of
these sets are small, so the search decides by balanced accuracy. With a quarter-width ResNet-10 and
few steps, sets of 28x28x28 voxels run on two CPU cores; docs/results.md has the time and the
accuracies of earlier rules. With a GPU, train longer: `--config.backbone.name=resnet18
--config.backbone.width=1 --config.pretrain.steps=100000`.
"""

from ml_collections import ConfigDict

from assl_jax.config import base_config


def get_config() -> ConfigDict:
    config = base_config("npz")
    config.tasks = "sc_assl,rubiks_cube,cpc,rotation,models_genesis"
    config.backbone.name, config.backbone.width = "resnet10", 0.25
    config.backbone.stem = "quarter"
    config.pretrain.mixing, config.pretrain.budget = "distil", "compute"
    config.pretrain.steps, config.pretrain.batch_size = 4_000, 16
    config.target.steps, config.target.batch_size = 200, 16
    config.target.learning_rate = 1e-3
    config.target.shift = 2
    config.task.rotation.all_rotations = False  # as many inputs a step as volumes
    config.task.models_genesis.width, config.task.models_genesis.coarse = 8, 2
    config.similarity.n = 1024
    config.search.metric = "balanced_accuracy"
    config.eval_batch_size = 64
    return config
