"""Table 4: every task with and without Self-ASSL, on generated head-CT-like volumes.

    python main.py --config=configs/table4_phantom3d.py

The paper's seven tasks, each plain and with Self-ASSL, and training from scratch, on the small
ResNet-10 of that config; settings of `mtassl_phantom3d.py`, whose finished work is used where it
lies in the same folder of runs.
"""

from ml_collections import ConfigDict

from configs import mtassl_phantom3d


def get_config() -> ConfigDict:
    config = mtassl_phantom3d.get_config()
    config.experiment = "table4"
    config.tasks = "rotation,sc_assl,rubiks_cube,cpc,models_genesis,src,mcpc"
    return config
