"""Classes of new files, by the network that a run kept.

python -m assl_jax predict runs/mtassl_folder photos/ more/photo.jpg [--out=predictions.csv]
    [--unsure=0.2] [--sensitivity=0.95 --positive=CLASS]
"""

import argparse
import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from assl_jax import files, outputs, records
from assl_jax.command_line import Options
from assl_jax.console import say
from assl_jax.data.names import shown
from assl_jax.data.settings import expanded
from assl_jax.errors import InputError
from assl_jax.evaluation.calibration import Decision, decide
from assl_jax.evaluation.export import Model, load_ensemble
from assl_jax.evaluation.finite import of_network
from assl_jax.evaluation.prediction import Predictions, predict
from assl_jax.ranges import Range
from assl_jax.records import SCRATCH, NetworkRecord, Results


class Classified(NamedTuple):
    """What `classify` found.

    Attributes:
      network: as `results.json` has it.
      models: one for each fine-tuning that was kept (`target.keep`).
      predictions: of the files.
      decision: the operating point, if one was asked for.
    """

    network: NetworkRecord
    models: list[Model]
    predictions: Predictions
    decision: Decision | None


def classify(given: argparse.Namespace) -> Classified:
    """Classify files with a finished run's fine-tuned networks, as the options say."""
    workdir = Path(given.workdir)
    results = records.read(workdir / records.RESULTS, Results)
    network = results.network(given.network) if given.network else results.kept
    if network is None:
        raise InputError(
            f"{workdir} compares networks and keeps none; choose one with --network: "
            f"{', '.join(each.label for each in results.networks)}"
        )
    network = network.replace(calibration=None) if given.raw else network
    decision = decide(
        network.calibration,
        results.classes,
        positive=given.positive,
        sensitivity=given.sensitivity,
        specificity=given.specificity,
    )
    stage = workdir / results.stages / network.finetune
    models = load_ensemble(stage, temperature=network.temperature)
    every = models[0].reader.find(*(expanded(path, "PATH") for path in given.paths))
    size = records.read_settings(workdir / records.CONFIG)["eval_batch_size"]
    with of_network(network.label):
        found = predict(models, every, batch_size=size)
    return Classified(network, models, found, decision)


def table(found: Classified, unsure: float | None = None) -> tuple[str, int]:
    """CSV: path, class, the probability of every class, the spread, and whether it is unsure.

    The spread is the standard deviation of the class's probability over the networks. A file is
    unsure if its class is wrong with a probability above `unsure`; their number is returned too.
    """
    predicted, names = found.predictions, found.models[0].classes
    mean, k = predicted.mean, predicted.classes(found.decision)
    own = np.arange(len(k)), k
    columns = [
        ("path", [shown(str(file)) for file in predicted.files]),
        ("class", [names[i] for i in k]),
        *((name, [f"{p:.9g}" for p in of]) for name, of in zip(names, mean.T, strict=True)),
    ]
    if len(found.models) > 1:
        spread = predicted.probabilities.std(0, ddof=1)[own]
        columns.append(("spread", [f"{value:.6g}" for value in spread.tolist()]))
    doubtful = 1 - mean[own] > (unsure or 1)
    if unsure:
        columns.append(("unsure", [("no", "yes")[each] for each in doubtful.astype(int)]))
    heads, cells = zip(*columns, strict=True)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heads, *zip(*cells, strict=True)])
    return text.getvalue(), int(doubtful.sum())


def _calibrated(network: NetworkRecord, raw: bool) -> str:
    """A line on how sure the probabilities are."""
    if raw:
        return "Probabilities: as the networks give them (--raw)."
    if network.calibration is None:
        return (
            "Probabilities: as the networks give them, which is often far too sure; the run has no "
            "cross-validation to calibrate them."
        )
    return (
        "Probabilities: calibrated on out-of-fold predictions of the labelled images (temperature "
        f"{network.temperature:.3g})."
    )


def _parser() -> Options:
    parser = Options("predict", description="Classify images or volumes.")
    add = parser.add_argument
    add("workdir", help="folder of a finished run")
    add("paths", nargs="+", help="files and folders")
    add("--network", default="", help="a label; default: the one the run kept")
    add("--out", type=Path, default=Path("predictions.csv"), help="a CSV file")
    add("--features", type=Path, help="also write the first fine-tuned network's pooled features")
    add("--raw", action="store_true", help="probabilities as the networks give them")
    add(
        "--unsure",
        type=float,
        metavar="P",
        help="mark files whose class is wrong with a probability above P, such as 0.2",
    )
    parser.add_force()
    point = parser.add_mutually_exclusive_group()
    for rate in ("sensitivity", "specificity"):
        text = f"of two classes: the threshold that has this {rate} on the labelled images, by fold"
        point.add_argument(f"--{rate}", type=float, metavar="SHARE", help=text)
    add(
        "--positive",
        default="",
        metavar="CLASS",
        help="the class that is looked for; default: the last",
    )
    return parser


def main(argv: list[str]) -> None:
    """The command."""
    given = _parser().parse_args(argv)
    for out in filter(None, (given.out, given.features)):
        outputs.expect(out, force=given.force)
    if given.unsure is not None:
        Range(above=0, below=1).check(given.unsure, "--unsure")
    found = classify(given)
    network, models, predicted, decision = found
    text, unsure = table(found, given.unsure)
    label = f"{network.label}, fine-tuned network 1 of {len(models)}"
    contents = {given.out: text.encode()}
    if given.features:
        arrays = {"path": np.array([str(file) for file in predicted.files])}
        arrays |= {"features": predicted.features, "network": np.array(label)}
        contents[given.features] = files.npz(arrays)
    outputs.write(contents, force=given.force)
    for file, reason in predicted.unread.items():
        say(f"left out: {file}: {reason}")
    left = f", {len(predicted.unread)} left out" if predicted.unread else ""
    networks = f"{len(models)} fine-tuned network{'s' if len(models) > 1 else ''}"
    number = len(predicted.files)
    # Where a program reads the table, it reads nothing else.
    tell = say if files.is_stream(given.out) else print
    tell(f"{number} files classified by {networks}{left}: {given.out}")
    if network.network == SCRATCH and not given.network:
        tell("The run kept the network from scratch: nothing that was pretrained is better.")
    tell(_calibrated(network, given.raw))
    if decision:
        tell(f"Operating point: {decision}.")
    if given.unsure:
        tell(f"Unsure: {unsure} of {number} files.")
    if given.features:
        tell(f"Features: of {label}, not of the pretrained backbone: {given.features}")
