"""Fine-tune a backbone of a finished run on other labels or with other settings.

assl-jax finetune WORKDIR [--config.data.path=FOLDER --config.target.steps=500 ...]
"""

from collections.abc import Sequence
from pathlib import Path

from absl import logging

from assl_jax import records
from assl_jax.commands.run import Options, add_options, start
from assl_jax.config import saved_config
from assl_jax.errors import InputError, lookup, require
from assl_jax.records import Results


def main(argv: Sequence[str]) -> None:
    """The command: an experiment without pretraining, in a workdir of its own.

    The settings are those of the run; the command line changes them.

    Raises:
      InputError: anything that the user can correct.
    """
    logging.set_verbosity(logging.FATAL)
    parser = Options(
        prog="assl-jax finetune",
        usage="assl-jax finetune WORKDIR [--config.KEY=VALUE ...] [OPTION ...]",
        description=__doc__,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("source", metavar="WORKDIR", nargs="?", help="folder of a finished run")
    parser.add_argument("--network", default="", help="a label; default: the one the run kept")
    add_options(parser, "WORKDIR_finetune")
    given, settings = parser.parse_known_args(argv)
    if given.help:
        print(parser.format_help())
        return
    require(given.source is not None, "name the folder of a finished run")
    source = Path(given.source).expanduser()
    config = saved_config(source)
    config.experiment = "finetune"
    config.init.path = str(_weights(source, given.network).resolve())
    start(config, settings, parser, given, source.with_name(f"{source.name}_finetune"))


def _weights(workdir: Path, label: str) -> Path:
    """The folder that holds a network's backbone: a pretraining stage, or the workdir."""
    results = records.read(workdir / records.RESULTS, Results)
    stages = {n.label: n.pretrain for n in results.networks if n.pretrain}
    if label:
        return workdir / results.stages / lookup(stages, label, "--network")
    if results.best is None:
        raise InputError(
            f"{workdir} compares networks and keeps none; choose one with --network: "
            f"{', '.join(stages)}"
        )
    return workdir
