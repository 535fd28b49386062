"""The commands: `assl-jax COMMAND ...`, or `python -m assl_jax COMMAND ...` without installing."""

import importlib
import sys

from assl_jax import __version__, signals
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


def main(argv: list[str]) -> None:
    """Run one command of `COMMANDS`; each is the file of that name in `assl_jax/commands/`."""
    if argv and argv[0] == "--version":
        print(f"assl_jax {__version__}")
        return
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: assl-jax COMMAND ...  (COMMAND --help lists its options)\n")
        print("\n".join(f"  {name:<14}{what}" for name, what in COMMANDS.items()))
        return
    with signals.stoppable():
        try:
            lookup(COMMANDS, argv[0], "command")
            importlib.import_module(f"assl_jax.commands.{argv[0]}").main(argv[1:])
        except InputError as error:
            fail(str(error))
        except Interrupted as error:
            signals.leave(str(error))
        except Exception as error:
            fault = disk_fault(error)
            if fault is None:
                raise
            fail(f"{fault}; the same command continues when this is mended")


def command() -> None:
    """The entry point of `assl-jax`."""
    main(sys.argv[1:])


if __name__ == "__main__":
    command()
