"""Settings that a run refuses. A row of the table says itself which are given besides `TINY`."""

import re

TOPIC = "Settings"
TINY = (
    *("run", "mtassl_digits", "--workdir=FOLDER/work", "--config.data.side=16"),
    *("--config.backbone.name=resnet10", "--config.backbone.width=0.0625"),
    *("--config.backbone.stem=half", "--config.pretrain.batch_size=8"),
    *("--config.target.batch_size=8", "--config.tasks=src,rotation", "--noconfig.keep_compiled"),
)


def test_the_message(row, check):
    given = [f"--config.{each}" for each in re.findall("`(.*?)`", row)]
    check(TOPIC, row, lambda folder: [*TINY, *given])
