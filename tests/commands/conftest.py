"""Finished runs made by hand."""

import pytest

from assl_jax import records
from assl_jax.config import base_config
from assl_jax.files import write_json
from assl_jax.records import Results


@pytest.fixture(scope="session")
def write_run():
    """`write_run(workdir, data, networks, **more)`: a run's results and config.

    `data` are settings of the config; `more` are fields of the results.
    """

    def write(workdir, data, networks, **more):
        workdir.mkdir(exist_ok=True)
        found = {
            "experiment": "mtassl",
            "data": data["name"],
            "space": (8, 8),
            "seed": 0,
            "select_on": "cv",
            "metric": "accuracy",
            "labels": 8,
            "test_images": 8,
            "classes": ("a", "b"),
            "stages": "../stages",
            "networks": tuple(networks),
        }
        records.write(workdir / "results.json", Results(**found | more))
        config = base_config(data["name"]).to_dict()
        write_json(workdir / "config.json", config | {"data": config["data"] | data})

    return write
