"""The commands: `assl-jax COMMAND ...`, or `python -m assl_jax COMMAND ...` without installing."""

import importlib
import sys

from assl_jax import __version__, console, environment, signals
from assl_jax.console import fail
from assl_jax.errors import InputError, Interrupted, lookup
from assl_jax.files import disk_fault

COMMANDS = {
    "run": "run an experiment, or continue it; `python main.py` is the same",
    "list": "the configs, proxy tasks, data sources and backbones",
    "finetune": "a backbone of a run on another labelled set, without pretraining",
    "predict": "classes of new images or volumes, by the network that a run kept",
    "probe": "linear probe and k-NN on the frozen features of a run",
    "gradcam": "where the networks of a run look",
    "export": "a network of a run for torchvision, timm, MONAI or ONNX",
    "report": "one page over several runs",
    "write_phantom": "generated head phantoms as NIfTI files",
}


UNREAD = 141  # status of a command whose output nobody reads, as shells have it for SIGPIPE


def main(argv: list[str]) -> None:
    """Run one command of `COMMANDS`; each is the file of that name in `assl_jax/commands/`."""
    console.prepare()
    try:
        with signals.stoppable():
            _run(argv)
    except BrokenPipeError:
        console.discard(sys.stdout)
        sys.exit(UNREAD)
    except SystemExit as end:
        if not console.flushed() and not end.code:
            sys.exit(UNREAD)
        raise


def _run(argv: list[str]) -> None:
    if argv and argv[0] == "--version":
        print(f"assl_jax {__version__}")
        return
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: assl-jax COMMAND ...  (COMMAND --help lists its options)\n")
        print("\n".join(f"  {name:<14}{what}" for name, what in COMMANDS.items()))
        return
    try:
        lookup(COMMANDS, argv[0], "command")
        importlib.import_module(f"assl_jax.commands.{argv[0]}").main(argv[1:])
        sys.stdout.flush()  # here, where a fault can still be told
    except InputError as error:
        fail(*error.lines)
    except Interrupted as error:
        signals.leave(str(error))
    except BrokenPipeError:
        raise
    except Exception as error:
        if wrong := environment.missing_platform():
            fail(wrong)
        if (fault := disk_fault(error)) is None:
            raise
        fail(f"{fault}; the same command continues when this is mended")


def command() -> None:
    """The entry point of `assl-jax`."""
    main(sys.argv[1:])


if __name__ == "__main__":
    command()
