"""Run an experiment: `python main.py --config=configs/mtassl_digits.py [--config.KEY=VALUE]`."""

from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from assl_jax.console import fail
from assl_jax.errors import InputError, Interrupted, choice, require

CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment, one of configs/*.py.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default runs/<config's name>.")
STAGES = flags.DEFINE_string(
    "stages", None, "Finished stages; default `stages` next to the workdir."
)
REUSE = flags.DEFINE_string("reuse", "code", "code, or settings: accept stages of other code.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Train with the cluster job's processes.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, without a cluster.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Describe the images and the plan, and stop.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Number of this process, from 0.")


def parse(argv: list[str]) -> list[str]:
    """Parse the command line; a mistake is one line and exit status 2."""
    try:
        rest = flags.FLAGS(argv)
        require(CONFIG.value is not None, "no config; use --config=configs/mtassl_digits.py")
        CONFIG.value.to_dict()  # a config file that cannot be read shows itself here
        choice(REUSE.value, ("code", "settings"), "--reuse")
        require(not rest[1:], f"unknown argument {' '.join(rest[1:])!r}")
    except OSError:
        fail(f"--config={config_flags.get_config_filename(flags.FLAGS['config'])} cannot be read")
    except (AttributeError, KeyError) as error:
        cause = error.args[0] if isinstance(error.args[0], Exception) else error
        fail(f"no config key {cause.args[0]}")
    except (flags.Error, InputError, TypeError, ValueError) as error:
        # What a config file raises arrives as a whole traceback; its last line says what is wrong.
        lines = str(error).strip().splitlines()
        fail(lines[-1] if "Traceback" in str(error) else str(error))
    return rest


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.FATAL)  # errors are one line, see below
    file, _, argument = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")
    name = "_".join(filter(None, [Path(file).stem, argument]))  # pairs.py:digits is pairs_digits
    workdir = Path(WORKDIR.value or Path("runs") / name)
    from assl_jax.experiment import run  # after parsing, so that a mistyped flag fails at once
    from assl_jax.training.interrupt import polite_stop
    from assl_jax.training.processes import initialize, share_errors

    try:
        initialize(DISTRIBUTED.value, COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
        with polite_stop(), share_errors():
            run(
                CONFIG.value,
                workdir,
                Path(STAGES.value) if STAGES.value else None,
                reuse_settings=REUSE.value == "settings",
                dry_run=DRY_RUN.value,
            )
    except InputError as error:
        fail(str(error))
    except Interrupted as error:
        fail(f"{error}; run the same command again to continue")
    except Exception as error:
        if "No space left on device" not in str(error):
            raise
        fail(f"the disk of {workdir} is full; free some space and run the same command again")


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
