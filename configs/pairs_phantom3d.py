"""Table 1: every pair of proxy tasks, on generated head-CT-like volumes.

    python main.py --config=configs/pairs_phantom3d.py

Every proxy task alone and every pair of them (ten pairs), with the settings of
`mtassl_phantom3d.py`, whose finished work is used where it lies in the same folder of runs. Does a
smaller similarity go with a larger gain? Nothing is selected.
"""

from ml_collections import ConfigDict

from configs import mtassl_phantom3d


def get_config() -> ConfigDict:
    config = mtassl_phantom3d.get_config()
    config.experiment = "pairs"
    return config
