"""Proxy tasks with heads and tables that compile fast."""

from assl_jax.tasks import make_task

FEW = {"permutations": 10, "hidden": 16}
SETTINGS = {
    **dict.fromkeys(["jigsaw", "rubiks_cube"], FEW),
    **dict.fromkeys(["simclr", "vicreg"], {"width": 8}),
    "byol": {"hidden": 8, "width": 8},
}
IN_3D = {"jigsaw": {"grid": 2}}


def small_task(name, rank=2, **settings):
    """The task called `name`, for images of `rank` spatial axes."""
    own = SETTINGS.get(name, {}) | (IN_3D.get(name, {}) if rank == 3 else {})
    return make_task(name, **own | settings)
