r"""Table 1: every pair of proxy tasks, on your own folder of images.

    python main.py --config=configs/pairs_folder.py \
        --config.data.path=FOLDER

Every proxy task alone and every pair of them (fifteen pairs), with the settings of
`mtassl_folder.py`, whose finished work is used where it lies in the same folder of runs. Does a
smaller similarity go with a larger gain? Nothing is selected.
"""

from ml_collections import ConfigDict

from configs import mtassl_folder


def get_config() -> ConfigDict:
    config = mtassl_folder.get_config()
    config.experiment = "pairs"
    return config
