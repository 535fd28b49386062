r"""Table 1: every pair of proxy tasks, on STL-10.

    python main.py --config=configs/pairs_stl10.py \
        --config.data.path=stl10_binary

Every proxy task alone and every pair of them (fifteen pairs), with the settings of
`mtassl_stl10.py`, whose finished work is used where it lies in the same folder of runs. Does a
smaller similarity go with a larger gain? Nothing is selected.
"""

from ml_collections import ConfigDict

from configs import mtassl_stl10


def get_config() -> ConfigDict:
    config = mtassl_stl10.get_config()
    config.experiment = "pairs"
    return config
