"""Algorithm 1 on brain CT with the paper's settings: Table 3.

    python main.py --config=configs/mtassl_brain_ct.py --config.data.path=FOLDER

FOLDER holds NIfTI volumes and `volumes.csv` with the columns path and label; the columns patient
and split are optional. The paper's data set (1,486 volumes, four causes of cerebral haemorrhage) is
not public. Section 5 of the paper gives: 30x270x230 voxels, 80:20, ResNet-18, five tasks, Adam,
batch 16, learning rates 2e-5 (proxy) and 1.5e-5 (target). We chose the rest: a window of 0 to
120 HU, a split by patient, 100 epochs of pretraining for that many volumes (7,400 steps), 50 epochs
of fine-tuning, a cosine schedule, random shift and left-right flip.

The paper selects on the test set; `--config.search.select_on=test` does the same.
`--config.search.candidates=all` trains every row of Table 3.

Needs a GPU with 80 GB (or several GPUs, or a smaller batch). It has not been run at full length, so
its time and accuracy are unknown. One step of every task was run at this size: docs/results.md.
"""

from ml_collections import ConfigDict

from assl_jax.config import base_config


def get_config() -> ConfigDict:
    config = base_config("volumes")
    config.tasks = "sc_assl,rubiks_cube,cpc,rotation,models_genesis"
    config.data.shape = (30, 270, 230)
    config.data.window = (0.0, 120.0)
    config.data.test_fraction = 0.2
    config.data.cache = "cache"
    config.backbone.name = "resnet18"
    config.pretrain.mixing = "distil"
    config.pretrain.steps, config.pretrain.batch_size = 7_400, 16
    config.pretrain.learning_rate = 2e-5
    config.target.steps, config.target.batch_size = 3_700, 16
    config.target.learning_rate = 1.5e-5
    config.target.shift, config.target.flip = 4, True
    config.task.rotation.all_rotations = False  # as many inputs a step as volumes
    config.task.rotation.crop_fraction = 7 / 8  # cheaper
    config.eval_batch_size = 16
    return config
