r"""Table 4: every task with and without Self-ASSL, on your own folder of images.

    python main.py --config=configs/table4_folder.py \
        --config.data.path=FOLDER

The paper's seven tasks, each plain and with Self-ASSL, and training from scratch, on VGG-16 and
ResNet-18 (the paper does not say which VGG); settings of `mtassl_folder.py`, whose finished work is
used where it lies in the same folder of runs.
"""

from ml_collections import ConfigDict

from configs import mtassl_folder


def get_config() -> ConfigDict:
    config = mtassl_folder.get_config()
    config.experiment = "table4"
    config.tasks = "jigsaw,inpaint,rotation,simclr,src,mcpc,sc_assl"
    config.self_assl.backbones = ("vgg16", "resnet18")
    return config
