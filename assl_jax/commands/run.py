"""Run an experiment, or continue it.

assl-jax run CONFIG [--config.KEY=VALUE ...]
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from absl import logging
from ml_collections import ConfigDict

from assl_jax.command_line import Options, describe, override, read
from assl_jax.config_files import describe as describe_file
from assl_jax.config_files import find, load, own_configs
from assl_jax.data.settings import expanded
from assl_jax.errors import require


def options() -> Options:
    """The options of the command; all else are settings of the config."""
    parser = Options(
        "run",
        usage="%(prog)s CONFIG [--config.KEY=VALUE ...] [OPTION ...]",
        description="CONFIG is the name of a config (see `assl-jax list`) or a file FILE.py, as in "
        "--config=CONFIG. With a config, --help lists settings.",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("--config", metavar="CONFIG", help="the same as CONFIG")
    add_options(parser, "runs/CONFIG")
    return parser


def add_options(parser: argparse.ArgumentParser, workdir: str) -> None:
    """The options of every command that runs an experiment; `workdir` is the default in words."""
    add = parser.add_argument
    add("--workdir", help=f"folder that the run writes to; default {workdir}")
    add(
        "--stages",
        help="finished stages: a folder, or STORE://ADDRESS; default `stages` next to the workdir",
    )
    add("--dry_run", action="store_true", help="describe the images and the plan, and stop")
    reuse = "code, or settings: also accept stages that other code has computed"
    add("--reuse", choices=("code", "settings"), default="code", help=reuse)
    again = "replace the results of a finished run whose images have changed"
    add("--again", action="store_true", help=again)
    share = "processes of this machine that share the work; default 1"
    add("--jobs", type=int, default=1, metavar="N", help=share)
    cluster = "where stages are computed: dask://HOST:PORT; default this machine"
    add("--engine", default="", metavar="ADDRESS", help=cluster)
    add("--distributed", action="store_true", help="train with the cluster job's processes")
    add("--coordinator", metavar="HOST:PORT", help="of process 0, without a cluster")
    add("--num_processes", type=int, metavar="N", help="number of processes")
    add("--process_id", type=int, metavar="I", help="number of this process, from 0")
    shown = "show this text and the settings to begin with; --help=all shows all settings"
    add("-h", "--help", nargs="?", const="few", metavar="all", help=shown)


def main(argv: Sequence[str]) -> None:
    """The command; a mistake is one line, all of them are shown at once."""
    logging.set_verbosity(logging.FATAL)  # errors are one line, see below
    parser = options()
    given, settings = parser.parse_known_args(argv)
    if given.help not in (None, "few", "all"):  # `run --help CONFIG`
        settings, given.help = [given.help, *settings], "few"
    if settings and given.config is None and not settings[0].startswith("-"):
        given.config = settings.pop(0)
    if given.help:
        print(_help(parser, given.config, settings, every=given.help == "all"))
        return
    require(
        given.config is not None,
        f"no config; name one of {', '.join(own_configs())}, or a file, as in "
        "--config=mtassl_digits",
    )
    file, word = find(given.config)
    # pairs:digits is pairs_digits
    name = "_".join(filter(None, [file.stem, word.replace(":", "_")]))
    start(load(given.config), settings, parser, given, Path("runs") / name)


def start(
    config: ConfigDict,
    settings: Sequence[str],
    parser: argparse.ArgumentParser,
    given: argparse.Namespace,
    default: Path,
) -> None:
    """Run an experiment as the command line says.

    `settings` are the arguments that change the config; `default` is the workdir, if `given` has
    none.
    """
    names = [name.removeprefix("--") for name in parser._option_string_actions]
    tree = read(config, settings, names)
    from assl_jax.experiment import dry_run, run  # only now: it takes a second
    from assl_jax.strategies.engines import make_engine
    from assl_jax.training.processes import initialize, share_errors

    # `~` is the home folder, also after "=", where a shell leaves it.
    workdir = expanded(given.workdir, "--workdir") if given.workdir else default
    stages = given.stages
    if stages and "://" not in stages:
        stages = expanded(stages, "--stages")
    alone = not given.distributed and given.num_processes is None
    engine = f"--engine={given.engine}" if given.engine else f"--jobs={given.jobs}"
    require(
        alone or (given.jobs == 1 and not given.engine),
        f"{engine} is for independent processes; leave it out where --distributed or "
        "--num_processes trains one network with several",
    )
    with make_engine(given.engine, given.jobs) as chosen:
        initialize(given.distributed, given.coordinator, given.num_processes, given.process_id)
        with share_errors():
            shared = {"reuse_settings": given.reuse == "settings", "again": given.again}
            if given.dry_run:
                dry_run(tree, workdir, stages, **shared)
            else:
                run(tree, workdir, stages, **shared, engine=chosen)


def _help(parser: Options, name: str | None, settings: Sequence[str], *, every: bool) -> str:
    text = parser.format_help()
    if name is None:
        own = "\n".join(f"  {name:<20}{describe_file(f)}" for name, f in own_configs().items())
        return f"{text}\nconfigs:\n{own}"
    config = load(name)
    override(config, settings)
    title = f"{name}: {describe_file(find(name)[0])}"
    return f"{text}\n{title}\n\n{settings_help(config, every=every)}"


def settings_help(config: ConfigDict, *, every: bool) -> str:
    """All settings of a config, or those that a beginner needs, for a terminal."""
    title = "settings:" if every else "settings to begin with (--help=all shows the others):"
    width = min(100, shutil.get_terminal_size().columns)
    return f"{title}\n{describe(config, width, every=every)}"
