"""New files get the classes that the run itself would give them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from assl_jax.data import load
from assl_jax.errors import InputError
from assl_jax.evaluation.classification import Classification, probabilities
from assl_jax.evaluation.export import export_model, load_ensemble
from assl_jax.evaluation.finetune import Target
from assl_jax.evaluation.prediction import predict
from assl_jax.models import make_backbone
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Training
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh
from assl_jax.training.state import TrainState

SETTINGS = {"name": "resnet10", "width": 1 / 16, "stem": "half"}
BATCH = 16


@pytest.fixture
def pets(tmp_path):
    """Pictures of 20x16 pixels in class folders."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 4), ("test", 12)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                picture = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)
                Image.fromarray(picture).save(folder / f"{i:02}.png")
    return tmp_path / "pets"


def states_of(dataset, drawn, n):
    """Fine-tuned networks: random weights."""
    backbone = make_backbone(**SETTINGS)
    variables = drawn(backbone.init, jnp.zeros((1, *dataset.images.shape[1:])))
    for seed in range(n):
        kernel = np.random.default_rng(seed).normal(size=(32, 2)).astype(np.float32)
        head = {"kernel": kernel, "bias": np.zeros(2, np.float32)}
        yield TrainState(
            step=0,
            params={"backbone": variables["params"], "heads": {"target": {"Dense_0": head}}},
            batch_stats=variables["batch_stats"],
            opt_state={},
            carry={},
        )


def test_test_files_get_the_runs_own_predictions_bit_for_bit(pets, tmp_path, drawn):
    dataset = load("folder", path=str(pets), side=16)
    target = Target(
        make_backbone(**SETTINGS),
        Classification(classes=2, intensity=dataset.intensity),
        Feed(dataset.images, make_mesh()),
        dataset.labels,
        Training(steps=1, batch_size=8, optimiser=Optimiser()),
        BATCH,
    )
    expected = []
    for number, state in enumerate(states_of(dataset, drawn, 2)):
        expected.append(target.probabilities(state, dataset.test))
        export_model(
            tmp_path / "stage" / "model",
            {"params": state.params, "batch_stats": state.batch_stats},
            settings=SETTINGS,
            dataset=dataset,
            number=number,
        )
    models = load_ensemble(tmp_path / "stage")
    files = models[0].reader.find(pets / "test")
    (pets / "broken.png").write_bytes(b"not an image")
    found = predict(models, [pets / "broken.png", *files], batch_size=BATCH)
    assert found.files == files
    np.testing.assert_array_equal(found.probabilities, expected)
    assert found.features.shape == (24, 32)
    assert found.unread == {pets / "broken.png": "cannot be read: not an image"}
    with pytest.raises(InputError, match="none of the 1 files can be read; .*broken.png: cannot"):
        predict(models, [pets / "broken.png"], batch_size=BATCH)


def test_probabilities_are_the_softmax_and_each_row_stands_alone():
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=s).astype(np.float32) for s in ((70, 33), (33, 5), (5,)))
    found = probabilities(x, w, b)
    np.testing.assert_allclose(found, jax.nn.softmax(x @ w + b), rtol=1e-5)
    for rows in (slice(0, 1), slice(3, 20), slice(69, None, -1)):
        np.testing.assert_array_equal(probabilities(x[rows], w, b), found[rows])
    assert found.dtype == np.float32
