"""Finished runs made by hand."""

import pytest
from finished_runs import results_of

from assl_jax import records
from assl_jax.config import base_config
from assl_jax.files import write_json


@pytest.fixture(scope="session")
def write_run():
    """`write_run(workdir, data, networks, **more)`: a run's results and config.

    `data` are settings of the config; `more` are fields of the results.
    """

    def write(workdir, data, networks, **more):
        workdir.mkdir(exist_ok=True)
        found = {"data": data["name"]} | more
        records.write(workdir / "results.json", results_of(networks, **found))
        config = base_config(data["name"]).to_dict()
        write_json(workdir / "config.json", config | {"data": config["data"] | data})

    return write
