"""Table 1: every pair of proxy tasks. Does a smaller similarity go with a larger gain?

    python main.py --config=configs/pairs.py:digits
    python main.py --config=configs/pairs.py:folder --config.data.path=FOLDER

The word after the colon chooses a config `mtassl_*.py`: digits, stl10, folder, phantom3d, volumes,
brain_ct or medmnist3d. The run has its settings, and shares finished stages with its runs in the
same folder. Every proxy task is trained alone and with every other one (15 pairs of 6 tasks, 10 of
5), and a pair alternates between its tasks, as in the paper. Nothing is selected.
"""

from ml_collections import ConfigDict

from assl_jax.config_files import load


def get_config(data: str = "digits") -> ConfigDict:
    config = load(f"mtassl_{data}")
    config.experiment = "pairs"
    config.pretrain.mixing = "alternate"
    return config
