"""Fine-tune a backbone of a finished run on other labels or with other settings.

assl-jax finetune WORKDIR [--config.data.path=FOLDER --config.target.steps=500 ...]
"""

from collections.abc import Sequence

from absl import logging

from assl_jax import records
from assl_jax.command_line import Options
from assl_jax.commands.run import add_options, settings_help, start
from assl_jax.config_reading import saved_config
from assl_jax.console import say
from assl_jax.data.settings import expanded
from assl_jax.errors import InputError, lookup, require
from assl_jax.records import SCRATCH, Results


def main(argv: Sequence[str]) -> None:
    """The command: an experiment without pretraining, in a workdir of its own."""
    logging.set_verbosity(logging.FATAL)
    parser = Options(
        "finetune",
        usage="%(prog)s WORKDIR [--config.KEY=VALUE ...] [OPTION ...]",
        description="Fine-tune the backbone of the finished run in WORKDIR. The settings are those "
        "of the run; --config.KEY=VALUE changes them.",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument(
        "--network",
        default="",
        help="a label; default: the one the run kept, or that its student began as",
    )
    add_options(parser, "WORKDIR_finetune")
    named = bool(argv) and not argv[0].startswith("-")
    given, settings = parser.parse_known_args(argv[named:])
    if given.help:
        print(parser.format_help())
        if named:
            config = saved_config(expanded(argv[0], "WORKDIR"))
            print(settings_help(config, every=given.help == "all"))
        return
    require(named, "name the folder of a finished run first: assl-jax finetune WORKDIR ...")
    source = expanded(argv[0], "WORKDIR").resolve()
    config = saved_config(source)
    config.experiment = "finetune"
    config.self_assl.backbones = ()
    config.distil.teachers = ""
    results = records.read(source / records.RESULTS, Results)
    weights, last = source, results.best.network if results.best else None
    if not given.network and last and last.objective == "student":
        given.network = last.teachers[0].label
        say(f"{last.label} has learned the labels of its run; {given.network} is fine-tuned")
    if given.network:
        pretrained = {n.label: n for n in results.networks if n.pretrain}
        chosen = lookup(pretrained, given.network, "--network")
        config.backbone.name = chosen.backbone
        weights = source / results.stages / str(chosen.pretrain)
    elif (
        not (kept := results.best.network if results.best else results.pretrained)
        or kept == SCRATCH
    ):
        labels = ", ".join(n.label for n in results.networks if n.pretrain)
        raise InputError(
            f"{source} keeps no pretrained backbone; choose one with --network: {labels}"
        )
    config.init.path = str(weights.resolve())
    default = source.with_name(f"{source.name}_finetune")
    start(config, settings, parser, given, default)
