"""Several finished runs on one page.

python -m assl_jax report WORKDIR [WORKDIR ...] [--out=FOLDER]
"""

from pathlib import Path

from assl_jax.command_line import Options
from assl_jax.report.compare import compare


def main(argv: list[str]) -> None:
    """The command."""
    parser = Options("report", description="Several finished runs on one page.")
    parser.add_argument("workdirs", nargs="+", type=Path, metavar="WORKDIR")
    parser.add_argument("--out", type=Path, help="default: `compare` next to the first WORKDIR")
    parser.add_force()
    given = parser.parse_args(argv)
    print(compare(given.workdirs, given.out, force=given.force))
