r"""Table 1: every pair of proxy tasks, on your brain CT volumes.

    python main.py --config=configs/pairs_brain_ct.py \
        --config.data.path=FOLDER

Every proxy task alone and every pair of them (ten pairs), with the settings of
`mtassl_brain_ct.py`, whose finished work is used where it lies in the same folder of runs. Does a
smaller similarity go with a larger gain? Nothing is selected.
"""

from ml_collections import ConfigDict

from configs import mtassl_brain_ct


def get_config() -> ConfigDict:
    config = mtassl_brain_ct.get_config()
    config.experiment = "pairs"
    return config
