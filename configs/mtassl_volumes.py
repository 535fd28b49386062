"""Algorithm 1 on your own volumes: NIfTI, DICOM, NRRD, MetaImage, MGH or ANALYZE.

    python main.py --config=configs/mtassl_volumes.py:small --config.data.path=FOLDER
    python main.py --config=configs/mtassl_volumes.py --config.data.path=FOLDER

`--dry_run` shows the volumes and how long it takes. With `small`, a small network sees three tasks,
which suits a CPU. Without it, the defaults suit some hundred volumes of 32x96x96 and one GPU.

FOLDER holds the volumes and `volumes.csv` with the columns path and label. A path is a file, or the
folder of one DICOM series (this needs `pip install pydicom`; NRRD needs `pip install pynrrd`). The
columns patient and split (train, val, test or unlabeled) are optional; an unlabeled volume needs no
label. Voxels that are NaN need `--config.data.nan=lowest` or a number. Volumes are brought to one
orientation. To bring them to one size, give a shape in voxels: bottom to top, front to back, side
to side. For CT also give a window in HU:

    --config.data.shape="(32,96,96)" --config.data.window="(-20,100)"

Without a window, the 0.5 and 99.5 percentiles of each volume become black and white, which suits
MRI. Decoded volumes are kept in `cache/` (`--config.data.cache`).
"""

from ml_collections import ConfigDict

from assl_jax.config import base_config, no_flips
from assl_jax.errors import choice


def get_config(size: str = "large") -> ConfigDict:
    choice(size, ("large", "small"), "the word after mtassl_volumes")
    config = base_config("volumes")
    config.tasks = "sc_assl,rubiks_cube,cpc,rotation,models_genesis"
    config.data.cache = "cache"
    config.backbone.name = "resnet18"
    config.pretrain.mixing, config.pretrain.budget = "distil", "compute"
    config.pretrain.steps, config.pretrain.batch_size = 100_000, 16
    config.pretrain.learning_rate = 1e-3
    config.student.share = 0.375
    config.target.steps, config.target.batch_size = 1_000, 16
    config.target.learning_rate = 1e-4
    config.target.shift = 2
    no_flips(config)  # left and right may matter
    config.task.rotation.all_rotations = False  # as many inputs a step as volumes
    config.task.rotation.crop_fraction = 7 / 8  # cheaper
    config.search.metric = "balanced_accuracy"
    config.eval_batch_size = 32
    if size == "small":
        config.tasks = "rotation,sc_assl,models_genesis"
        config.backbone.name, config.backbone.width, config.backbone.stem = "resnet10", 0.25, "half"
        config.pretrain.steps, config.pretrain.batch_size = 1_500, 8
        config.target.steps, config.target.batch_size = 60, 8
        config.target.learning_rate = 1e-3
    return config
