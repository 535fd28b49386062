"""Run an experiment: `python main.py --config=configs/mtassl_digits.py [--config.KEY=VALUE]`.

The same as `assl-jax run`, see `assl_jax/commands/run.py`.
"""

import sys

from assl_jax.__main__ import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
