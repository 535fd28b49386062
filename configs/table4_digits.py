"""Table 4: every task with and without Self-ASSL, on the digits inside scikit-learn.

    python main.py --config=configs/table4_digits.py

The paper's seven tasks, each plain and with Self-ASSL, and training from scratch, on the small
ResNet-10 of that config; settings of `mtassl_digits.py`, whose finished work is used where it lies
in the same folder of runs.
"""

from ml_collections import ConfigDict

from configs import mtassl_digits


def get_config() -> ConfigDict:
    config = mtassl_digits.get_config()
    config.experiment = "table4"
    config.tasks = "jigsaw,inpaint,rotation,simclr,src,mcpc,sc_assl"
    return config
