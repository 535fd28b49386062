"""Classes of new files, by the network that a run kept.

python -m assl_jax predict runs/mtassl_folder photos/ more/photo.jpg [--out=predictions.csv]
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from assl_jax import files, records
from assl_jax.command_line import Options
from assl_jax.console import say
from assl_jax.data.names import shown
from assl_jax.data.settings import expanded
from assl_jax.errors import InputError, lookup, require
from assl_jax.evaluation.export import Model, load_ensemble
from assl_jax.evaluation.finite import of_network
from assl_jax.evaluation.prediction import Predictions, predict
from assl_jax.records import Results


def predict_files(
    workdir: str | Path, paths: Sequence[str | Path], *, network: str = ""
) -> tuple[list[Model], Predictions]:
    """Classify files with a finished run's fine-tuned networks.

    Args:
      workdir: of the run.
      paths: files and folders; folders are searched, in the order of the names.
      network: a label in `results.json`; "" means the network that the run kept.

    Returns:
      The networks: one for each fine-tuning that was kept (`target.keep`). Their predictions.

    Raises:
      InputError: no finished run, an unknown network or one that was not kept, a path without files
        that can be read, a network whose features are not finite.
    """
    workdir = Path(workdir)
    results = records.read(workdir / records.RESULTS, Results)
    known = {n.label: n for n in results.networks}
    chosen = lookup(known, network, "--network") if network else results.kept
    if chosen is None:
        raise InputError(
            f"{workdir} compares networks and keeps none; choose one with --network: "
            f"{', '.join(known)}"
        )
    models = load_ensemble(workdir / results.stages / chosen.finetune)
    reader = models[0].reader
    require(bool(reader.shape), f"{workdir} is a run of an earlier version; run it again")
    found = reader.find(*(expanded(str(path), "PATH") for path in paths))
    size = records.read_settings(workdir / records.CONFIG)["eval_batch_size"]
    with of_network(chosen.label):
        return models, predict(models, found, batch_size=size)


def table(models: Sequence[Model], found: Predictions) -> str:
    """The predictions as CSV: path, class, the probability of every class, and the spread.

    The probabilities are means over the networks. The spread is the standard deviation of the
    predicted class's probability over the networks; there is no spread of one network.
    """
    mean = found.probabilities.mean(0, dtype=np.float64)
    classes = models[0].classes
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    several = len(models) > 1
    writer.writerow(["path", "class", *classes, *(["spread"] if several else [])])
    for i, file in enumerate(found.files):
        k = int(mean[i].argmax())
        spread = [f"{found.probabilities[:, i, k].std(ddof=1):.6g}"] if several else []
        writer.writerow([shown(str(file)), classes[k], *(f"{p:.9g}" for p in mean[i]), *spread])
    return text.getvalue()


def main(argv: list[str]) -> None:
    """The command.

    Raises:
      InputError: as `predict_files`, or a file that cannot be written.
    """
    parser = Options(prog="python -m assl_jax predict", description="Classify images or volumes.")
    parser.add_argument("workdir", help="folder of a finished run")
    parser.add_argument("paths", nargs="+", help="files and folders")
    parser.add_argument("--network", default="", help="a label; default: the one the run kept")
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"), help="a CSV file")
    parser.add_argument("--features", type=Path, help="also write pooled features to this .npz")
    given = parser.parse_args(argv)
    for out in filter(None, (given.out, given.features)):
        require(
            out.parent.is_dir() and not out.is_dir(),
            f"{out} is no file in an existing folder; choose another",
        )
    models, found = predict_files(given.workdir, given.paths, network=given.network)
    try:
        files.write_text(given.out, table(models, found))
        if given.features:
            names = np.array([str(file) for file in found.files])
            files.write_arrays(given.features, {"path": names, "features": found.features})
    except OSError as error:
        raise InputError(f"{error.filename} cannot be written: {error.strerror}") from error
    for file, reason in found.unread.items():
        say(f"left out: {file}: {reason}")
    left = f", {len(found.unread)} left out" if found.unread else ""
    networks = f"{len(models)} fine-tuned network{'s' if len(models) > 1 else ''}"
    print(f"{len(found.files)} files classified by {networks}{left}: {given.out}")
