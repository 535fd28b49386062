"""The numbers of every kind of stage, on record: they change only together with its version.

The code of training loops and of evaluation is no part of a stage's identity; `VERSIONS` in
strategies/stage.py stands for it. These tests fail where a version should have been raised.
"""

import json
import os
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from small_studies import ENTRIES, make_lab

from assl_jax.files import write_json
from assl_jax.models import BACKBONES
from assl_jax.records import Network
from assl_jax.strategies import comparing, finetuning, pretraining
from assl_jax.strategies.stage import VERSIONS
from assl_jax.strategies.study import Given
from assl_jax.training.checkpoint import load_tree

JAX = ".".join(metadata.version("jax").split(".")[:2])
TABLE = Path(__file__).parent / f"jax-{JAX}.json"
ANEW = "GOLDEN=write python -m pytest tests/golden -m 'slow or not slow'"
# After few steps the numbers hardly depend on the processor's instructions.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}

SRC, ROTATION = Network(tasks=("src",)), Network(tasks=("rotation",))
AGAIN = Network(tasks=("src",), objective="second_run", start=SRC, teachers=(SRC,))
PRETRAINED = {
    "one task": SRC,
    "alternating": Network(tasks=("rotation", "src"), objective="alternate"),
    "joint": Network(tasks=("rotation", "src"), objective="joint"),
    "distilled": Network(tasks=("src",), objective="distil", start=SRC, teachers=(ROTATION,)),
    "second run": AGAIN,
    "Self-ASSL": AGAIN.replace(objective="self_assl"),
}

NAMES = (
    *(f"pretrain, {name}" for name in PRETRAINED),
    *("given", "finetune", "rate", "select", "features", "probe"),
)


def specs(study):
    """The stages on record by name, at least one of each kind."""
    return {
        **{f"pretrain, {name}": pretraining.spec(study, n) for name, n in PRETRAINED.items()},
        "given": pretraining.spec(study, Network(given="wise")),
        "finetune": finetuning.finetune(study, SRC, 1e-3),
        "rate": finetuning.cross_validate(study, SRC, 1e-3, finetuning.FOR_RATES, "rate"),
        "select": finetuning.cross_validate(study, SRC, 1e-3),
        "features": comparing.features(study, SRC),
        "probe": comparing.probe(study, [SRC, ROTATION]),
    }


def numbers(study, stage):
    """A few numbers of a stage that any change of its arrays moves."""
    if stage.record.kind == "probe":
        return {"loss": [stage.record.result.loss]}
    if stage.record.kind in ("given", "pretrain"):
        variables = load_tree(stage.folder / "backbone" / "variables")
        arrays = {
            f"{layer} {name}": array
            for part in ("params", "batch_stats")
            for layer, values in variables[part].items()
            for name, array in values.items()
        }
    elif stage.record.kind == "features":
        arrays = {"features": comparing.read(stage)}
    else:
        runs = zip(stage.record.result.runs, finetuning.predictions(stage), strict=True)
        arrays = dict(runs)
    return {name: _few(np.asarray(array, np.float64)) for name, array in arrays.items()}


def _few(array):
    return [float(x) for x in (array.sum(), np.abs(array).sum(), *array.ravel()[:4])]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """One study, whose stages build on each other."""
    with pytest.MonkeyPatch.context() as patch:
        for name, entry in ENTRIES.items():
            patch.setitem(BACKBONES, name, entry)
        ramp = {"conv": {"kernel": (3, 3, 1, 6)}, "bn": {"scale": (6,), "bias": (6,)}}
        params = {
            layer: {
                n: np.linspace(-1, 1, np.prod(s), dtype=np.float32).reshape(s)
                for n, s in of.items()
            }
            for layer, of in ramp.items()
        }
        stats = {"bn": {"mean": np.zeros(6, np.float32), "var": np.ones(6, np.float32)}}
        wise = Given(variables={"params": params, "batch_stats": stats}, digest="ramp")
        yield make_lab(tmp_path_factory.mktemp("golden"), given={"wise": wise})


@pytest.fixture(scope="module")
def table():
    """What is on record for the installed JAX."""
    if os.environ.get("GOLDEN") == "write":
        return None
    if not TABLE.exists():
        pytest.skip(f"no numbers are on record for JAX {JAX}; write them with {ANEW}")
    return json.loads(TABLE.read_text())


def test_every_kind_is_on_record(lab):
    found = specs(lab.study)
    assert {spec.kind for spec in found.values()} == set(VERSIONS) and tuple(found) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_are_those_on_record(lab, table, name):
    spec = specs(lab.study)[name]
    found = numbers(lab.study, lab.run(spec))
    if table is None:
        known = json.loads(TABLE.read_text()) if TABLE.exists() else {}
        write_json(TABLE, known | {name: found})
        return
    known = table.get(name, {})
    moved = [
        key
        for key in {*known, *found}
        if not np.allclose(found.get(key, np.nan), known.get(key, np.nan), **TOLERANCE)
    ]
    assert not moved, (
        f"the numbers of kind {spec.kind} changed ({name}: {', '.join(moved)}): raise "
        f"VERSIONS[{spec.kind!r}] in strategies/stage.py and write the table anew with {ANEW}"
    )
