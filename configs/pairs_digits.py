"""Table 1: every pair of proxy tasks, on the digits inside scikit-learn.

    python main.py --config=configs/pairs_digits.py

Every proxy task alone and every pair of them (fifteen pairs), with the settings of
`mtassl_digits.py`, whose finished work is used where it lies in the same folder of runs. Does a
smaller similarity go with a larger gain? Nothing is selected.
"""

from ml_collections import ConfigDict

from configs import mtassl_digits


def get_config() -> ConfigDict:
    config = mtassl_digits.get_config()
    config.experiment = "pairs"
    return config
