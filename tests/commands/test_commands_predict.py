"""`python -m assl_jax predict` on a run's folder made by hand."""

import csv
import re

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from assl_jax.__main__ import main
from assl_jax.data import load
from assl_jax.evaluation.export import export_model
from assl_jax.models import make_backbone
from assl_jax.records import Best, Evaluation, NetworkRecord

BACKBONE = {"name": "resnet10", "width": 1 / 16, "stem": "half"}
CLASSES = ("cat", "dög")


@pytest.fixture
def finished(tmp_path, drawn, write_run):
    """A run on pictures of 8x8 pixels that kept two fine-tuned networks of `rotation`."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in CLASSES:
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(3):
                Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(
                    folder / f"{i}.png"
                )
    data = {"name": "folder", "path": str(tmp_path / "pets")}
    dataset = load(**data)
    variables = drawn(make_backbone(**BACKBONE).init, jnp.zeros((1, 8, 8, 1)))
    for number, bias in enumerate(([9.0, 0.0], [0.0, 0.0])):  # certain, and undecided
        head = {"kernel": np.zeros((32, 2), np.float32), "bias": np.array(bias, np.float32)}
        export_model(
            tmp_path / "stages" / "finetune-rotation" / "model",
            {
                "params": {
                    "backbone": variables["params"],
                    "heads": {"target": {"Dense_0": head}},
                },
                "batch_stats": variables["batch_stats"],
            },
            settings=BACKBONE,
            dataset=dataset,
            number=number,
        )
    write_run(tmp_path / "run", data, [NETWORK], best=BEST)
    return tmp_path


NETWORK = NetworkRecord(
    label="rotation",
    pool=("rotation",),
    variant="plain",
    backbone="resnet10",
    finetune="finetune-rotation",
)
BEST = Best(pool=("rotation",), evaluation=Evaluation(metrics={}, confusion=()))


def test_a_table_and_features(finished, capsys):
    (finished / "pets" / "broken.png").write_bytes(b"")
    out, features = finished / "out.csv", finished / "out.npz"
    main(
        ["predict", str(finished / "run"), str(finished / "pets")]
        + [f"--out={out}", f"--features={features}"]
    )
    said = capsys.readouterr()
    assert said.out == f"12 files classified by 2 fine-tuned networks, 1 left out: {out}\n"
    assert re.search(r"left out: .*broken\.png: cannot be read: not an image", said.err)
    with out.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "class", "cat", "dög", "spread"]
    # The mean of 1 / (1 + e^-9) and 1 / 2, and the standard deviation of these two.
    certain = 1 / (1 + np.exp(-9.0))
    for _, name, cat, dog, spread in rows:
        assert name == "cat"
        np.testing.assert_allclose(float(cat), (certain + 0.5) / 2, rtol=1e-6)
        np.testing.assert_allclose(float(cat) + float(dog), 1.0, rtol=1e-6)
        np.testing.assert_allclose(float(spread), (certain - 0.5) / 2**0.5, rtol=1e-5)
    with np.load(features) as kept:
        assert kept["path"].tolist() == [row[0] for row in rows]
        assert kept["features"].shape == (12, 32)


def test_a_network_that_diverged_is_named_and_writes_nothing(finished, drawn, capsys):
    dataset = load("folder", path=str(finished / "pets"))
    variables = drawn(make_backbone(**BACKBONE).init, jnp.zeros((1, 8, 8, 1)))
    head = {"kernel": np.zeros((32, 2), np.float32), "bias": np.array([np.nan, 0], np.float32)}
    params = {"backbone": variables["params"], "heads": {"target": {"Dense_0": head}}}
    export_model(
        finished / "stages" / "finetune-rotation" / "model",
        {"params": params, "batch_stats": variables["batch_stats"]},
        settings=BACKBONE,
        dataset=dataset,
        number=1,
    )
    out = finished / "out.csv"
    with pytest.raises(SystemExit) as stopped:
        main(["predict", str(finished / "run"), str(finished / "pets"), f"--out={out}"])
    assert stopped.value.code == 2 and not out.exists()
    assert "network rotation has weights of its linear head" in capsys.readouterr().err
