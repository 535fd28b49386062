"""`python -m assl_jax predict` on a run's folder made by hand."""

import csv
import re

import jax.numpy as jnp
import numpy as np
import pytest
from finished_runs import BACKBONE, fine_tuned, network
from PIL import Image

from assl_jax.__main__ import main
from assl_jax.data import load
from assl_jax.models import make_backbone
from assl_jax.records import Best, Calibration, Evaluation, OperatingPoint

KERNEL = np.zeros((32, 2))
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
    stage = tmp_path / "stages" / "finetune-rotation"
    for number, bias in enumerate(([9.0, 0.0], [0.0, 0.0])):  # certain, and undecided
        fine_tuned(stage, variables, dataset, kernel=KERNEL, bias=bias, number=number)
    write_run(tmp_path / "run", data, [NETWORK], best=BEST)
    return tmp_path


NETWORK = network("rotation")
BEST = Best(network=NETWORK.network, evaluation=Evaluation(metrics={}, confusion=()))


def test_a_table_and_features(finished, capsys):
    (finished / "pets" / "broken.png").write_bytes(b"")
    out, features = finished / "out.csv", finished / "out.npz"
    main(
        ["predict", str(finished / "run"), str(finished / "pets")]
        + [f"--out={out}", f"--features={features}"]
    )
    said = capsys.readouterr()
    first, how, whose = said.out.splitlines()
    assert first == f"12 files classified by 2 fine-tuned networks, 1 left out: {out}"
    assert "often far too sure; the run has no cross-validation" in how
    label = "rotation, fine-tuned network 1 of 2"
    assert whose == f"Features: of {label}, not of the pretrained backbone: {features}"
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
        assert kept["network"] == label


@pytest.fixture
def ask(finished, write_run, capsys):
    """`ask(*options)`: rows of the table, and what is printed, by a run that is calibrated."""
    points = (
        OperatingPoint(threshold=0.2, sensitivity=1.0, specificity=0.25),
        OperatingPoint(threshold=0.4, sensitivity=0.75, specificity=1.0),
    )
    network = NETWORK.replace(calibration=Calibration(temperature=3.0, points=points))
    data = {"name": "folder", "path": str(finished / "pets")}
    write_run(finished / "run", data, [network], best=BEST, classes=CLASSES)

    def run(*options):
        file, out = finished / "pets" / "test" / "cat" / "0.png", finished / "out.csv"
        main(["predict", str(finished / "run"), str(file), f"--out={out}", "--force", *options])
        with out.open(newline="", encoding="utf-8") as table:
            return next(csv.DictReader(table)), capsys.readouterr().out

    return run


SOFT, SURE = 1 / (1 + np.exp(-3.0)), 1 / (1 + np.exp(-9.0))


def test_each_network_has_its_temperature_before_the_mean(ask):
    row, said = ask()
    np.testing.assert_allclose(float(row["cat"]), (SOFT + 0.5) / 2, rtol=1e-6)
    np.testing.assert_allclose(float(row["spread"]), (SOFT - 0.5) / 2**0.5, rtol=1e-5)
    assert "calibrated on out-of-fold predictions of the labelled images (temperature 3)" in said
    row, said = ask("--raw")
    np.testing.assert_allclose(float(row["cat"]), (SURE + 0.5) / 2, rtol=1e-6)
    assert "as the networks give them (--raw)" in said


def test_a_class_that_is_wrong_too_often_is_unsure(ask):
    """The other class has a probability of 0.274, and of 0.250 without the temperature."""
    row, said = ask("--unsure=0.26")
    assert row["unsure"] == "yes" and "Unsure: 1 of 1 files." in said
    row, said = ask("--unsure=0.28")
    assert row["unsure"] == "no" and "Unsure: 0 of 1 files." in said
    assert ask("--unsure=0.26", "--raw")[0]["unsure"] == "no"
    assert "unsure" not in ask()[0]


@pytest.mark.parametrize(
    "options, name, says",
    [
        ([], "cat", ""),
        (["--sensitivity=0.9"], "dög", "dög from a probability of 0.2 on: .*100.0 %, .*25.0 %"),
        (["--specificity=0.9", "--positive=cat"], "dög", "cat from a probability of 0.8 on"),
    ],
)
def test_an_operating_point_decides(ask, options, name, says):
    """The probability of `dög` is 0.274. The spread is that of the class in the row."""
    row, said = ask(*options)
    assert row["class"] == name and re.search(says, said)
    assert ("Operating point" in said) == bool(options)


def test_a_network_that_diverged_is_named_and_writes_nothing(finished, drawn, capsys):
    dataset = load("folder", path=str(finished / "pets"))
    variables = drawn(make_backbone(**BACKBONE).init, jnp.zeros((1, 8, 8, 1)))
    stage, bias = finished / "stages" / "finetune-rotation", [np.nan, 0]
    fine_tuned(stage, variables, dataset, kernel=KERNEL, bias=bias, number=1)
    out = finished / "out.csv"
    with pytest.raises(SystemExit) as stopped:
        main(["predict", str(finished / "run"), str(finished / "pets"), f"--out={out}"])
    assert stopped.value.code == 2 and not out.exists()
    assert "network rotation has weights of its linear head" in capsys.readouterr().err


def test_a_run_that_kept_the_network_from_scratch_says_so(finished, write_run, capsys):
    scratch = network("scratch", finetune=NETWORK.finetune)
    data = {"name": "folder", "path": str(finished / "pets")}
    best = BEST.replace(network=scratch.network)
    write_run(finished / "run", data, [scratch, NETWORK], best=best)
    file = str(finished / "pets" / "test" / "cat" / "0.png")
    said = "The run kept the network from scratch: nothing that was pretrained is better."
    for options, expected in ([], True), (["--network=rotation"], False):
        main(["predict", str(finished / "run"), file, f"--out={finished / 'o.csv'}", *options])
        assert (said in capsys.readouterr().out) == expected
