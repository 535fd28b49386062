"""Several finished runs on one page.

python -m assl_jax.report WORKDIR [WORKDIR ...] [--out=FOLDER]
"""

import argparse
import sys
from pathlib import Path

from assl_jax.errors import InputError
from assl_jax.report.compare import compare


def main(argv: list[str]) -> None:
    """The command; a mistake is one line and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m assl_jax.report", description="Several finished runs on one page."
    )
    parser.add_argument("workdirs", nargs="+", type=Path, metavar="WORKDIR")
    parser.add_argument("--out", type=Path, help="by default `compare` beside the first WORKDIR")
    settings = parser.parse_args(argv)
    try:
        page = compare(settings.workdirs, settings.out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(page)


if __name__ == "__main__":
    main(sys.argv[1:])
