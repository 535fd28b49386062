"""The pure floor works in a Python that has only jax, numpy, optax and jaxtyping."""

import subprocess
import sys
import textwrap

PROGRAM = """
    import sys

    ABSENT = (
        "flax orbax tensorflow_datasets tensorflow nibabel sklearn PIL matplotlib ml_collections"
    ).split()

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ABSENT:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Absent())
    try:
        import flax
    except ModuleNotFoundError:
        pass
    else:
        raise SystemExit("the blocker does not block")

    import assl_jax.losses, assl_jax.lcka, assl_jax.routes, assl_jax.permutations
    import assl_jax.ops.intensity
    print(assl_jax.lcka.linear_cka.__name__)
"""


def test_pure_modules_import_without_the_heavy_packages():
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "linear_cka"
