"""A network of a finished run as a file for other programs.

python -m assl_jax export WORKDIR --format=torchvision [--network=LABEL --out=FOLDER]
"""

from pathlib import Path

from assl_jax.command_line import Options
from assl_jax.interop.export import FORMATS, export


def main(argv: list[str]) -> None:
    """The command."""
    parser = Options("export", description="A network of a run for other programs.")
    parser.add_argument("workdir", type=Path, metavar="WORKDIR", help="folder of a finished run")
    formats = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    parser.add_argument("--format", required=True, help=formats)
    parser.add_argument(
        "--network",
        default="",
        metavar="LABEL",
        help="a fine-tuned network with its head; default: the run's pretrained backbone",
    )
    parser.add_argument("--raw", action="store_true", help="the head without its temperature")
    parser.add_argument("--out", type=Path, help="folder of the files; default WORKDIR/export")
    parser.add_argument("--licence", default="", help="for the model card")
    parser.add_force()
    given = vars(parser.parse_args(argv))
    for path in export(given.pop("workdir"), given.pop("format"), **given):
        print(path)
