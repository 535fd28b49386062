"""Table 4: every task with and without Self-ASSL.

    python main.py --config=configs/table4.py:digits
    python main.py --config=configs/table4.py:stl10 --config.data.path=stl10_binary

The word after the colon chooses a config `mtassl_*.py`: digits, stl10, folder, phantom3d, volumes,
brain_ct or medmnist3d. The run has its settings, and shares finished stages with its runs in the
same folder. It trains the paper's seven tasks without and with Self-ASSL, and the target task from
scratch. If the config has a ResNet-18, a VGG-16 is trained too, as in the paper (which does not say
which VGG).
"""

from ml_collections import ConfigDict

from assl_jax.config_files import load

IMAGES = "jigsaw,inpaint,rotation,simclr,src,mcpc,sc_assl"
VOLUMES = "rotation,sc_assl,rubiks_cube,cpc,models_genesis,src,mcpc"


def get_config(data: str = "digits") -> ConfigDict:
    config = load(f"mtassl_{data}")
    config.experiment = "table4"
    config.tasks = VOLUMES if "rubiks_cube" in config.tasks else IMAGES
    if config.backbone.name == "resnet18":
        config.self_assl.backbones = ("vgg16", "resnet18")
    return config
