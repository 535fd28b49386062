r"""Table 4: every task with and without Self-ASSL, on your brain CT volumes.

    python main.py --config=configs/table4_brain_ct.py \
        --config.data.path=FOLDER

The paper's seven tasks, each plain and with Self-ASSL, and training from scratch, on VGG-16 and
ResNet-18 (the paper does not say which VGG); settings of `mtassl_brain_ct.py`, whose finished work
is used where it lies in the same folder of runs.
"""

from ml_collections import ConfigDict

from configs import mtassl_brain_ct


def get_config() -> ConfigDict:
    config = mtassl_brain_ct.get_config()
    config.experiment = "table4"
    config.tasks = "rotation,sc_assl,rubiks_cube,cpc,models_genesis,src,mcpc"
    config.self_assl.backbones = ("vgg16", "resnet18")
    return config
