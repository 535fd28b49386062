"""Linear probe and k-NN on the frozen features of a run's networks.

python -m assl_jax probe --workdir=runs/mtassl_digits [--networks=rotation,simclr --layer=pooled]
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from assl_jax import outputs, records
from assl_jax.command_line import Options
from assl_jax.config import words
from assl_jax.config_reading import saved_config, typed
from assl_jax.console import Progress
from assl_jax.data import Dataset
from assl_jax.errors import lookup, require
from assl_jax.evaluation.export import load_backbone, load_intensity
from assl_jax.evaluation.features import Variables
from assl_jax.evaluation.finite import of_network
from assl_jax.evaluation.plain import PlainImages
from assl_jax.evaluation.probes import PROBES, probe
from assl_jax.evaluation.scores import METRICS, shares
from assl_jax.evaluation.spectrum import effective_rank
from assl_jax.models import SideBySide
from assl_jax.records import Probed, Probes, Results
from assl_jax.report.evaluations import SMALL
from assl_jax.report.forms import mean_std, tenths, with_interval
from assl_jax.report.terminal import table_lines
from assl_jax.sections import Cell, Row, Table
from assl_jax.training.feed import Feed
from assl_jax.training.sharding import make_mesh, replicate

UNTRAINED = "untrained"


class Network(NamedTuple):
    """A network to probe; `folder` holds its weights, None for random ones."""

    label: str
    folder: Path | None
    plain: PlainImages
    variables: Variables


def probe_networks(
    workdir: str | Path,
    *,
    networks: Sequence[str] = (),
    checkpoints: Sequence[str | Path] = (),
    layer: str = "pooled",
    k: int = 20,
) -> Probes:
    """Probe the frozen features of a run's pretrained networks, and of untrained networks.

    Features of the labelled and the test images are computed without augmentation. The untrained
    networks come first, one for each architecture.

    Args:
      workdir: of the run; its config names the images and the labels.
      networks: labels of pretrained networks in the run's results. Without labels, all of them are
        probed, or none of them if there are `checkpoints`.
      checkpoints: folders that `load_backbone` reads.
      layer: "pooled", or a stage of the backbone, averaged over space.
      k: number of neighbours that vote.
    """
    require(k >= 1, f"--k={k} must be at least 1")
    workdir = Path(workdir)
    config = typed(saved_config(workdir))
    folders = _pretrained(workdir, networks) if networks or not checkpoints else {}
    folders |= {str(folder): Path(folder) for folder in checkpoints}
    loaded = {label: (*load_backbone(f), load_intensity(f)) for label, f in folders.items()}
    dataset = config.data.load()
    sample = np.random.default_rng(config.seed).permutation(dataset.unlabeled)
    rows = {
        "unlabeled": np.sort(sample[: config.similarity.n]),
        "judged": np.unique(np.concatenate([*dataset.labelled_sets, dataset.test])),
    }
    shared: dict[str, Any] = {
        "images": Feed(dataset.images, make_mesh(), config.images_on),
        "rows": rows,
        "layer": layer,
        "batch_size": config.eval_batch_size,
        "reestimate": config.similarity.reestimate_bn,
    }
    trained = []
    for label, (module, variables, intensity) in loaded.items():
        plain = PlainImages(backbone=module, intensity=intensity, **shared)
        trained.append(Network(label, folders[label], plain, variables))
    for network in trained:
        _check(network, dataset)
    compared = [*_untrained(trained, config.seed), *trained]
    probed = []
    with Progress("probe", len(compared)) as progress:
        for i, network in enumerate(compared, 1):
            probed.append(_probed(network, dataset, k, config.seed))
            accuracy = probed[-1].probes["linear"].accuracy
            progress.update(i, f"{network.label}: {tenths(accuracy.mean)} %")
    return Probes(
        data=dataset.name,
        layer=layer,
        k=k,
        classes=dataset.class_names,
        labels=len(dataset.labelled_sets[0]),
        labelled_sets=len(dataset.labelled_sets),
        test_images=len(dataset.test),
        patients=dataset.test_patients,
        networks=tuple(probed),
    )


def probe_table(found: Probes) -> Table:
    """Accuracies with intervals, and effective ranks.

    Accuracies may mislead with two classes, and with a test set of fewer than `SMALL` patients
    (images, if patients are not known). In these cases the table has all metrics.
    """
    size = found.patients or found.test_images
    metrics = list(shares()) if size < SMALL or len(found.classes) == 2 else ["accuracy"]
    # One list declares head and cell of each column, so their numbers agree.
    columns: list[tuple[str, Callable[[Probed], str]]] = [("Network", lambda n: n.label)]
    for name, title in PROBES.items():
        for metric in metrics:
            columns.append(_metric_column(name, title, metric))
    columns.append(("Effective rank", lambda n: f"{n.effective_rank:.1f}"))
    rows = [Row(tuple(Cell(cell(network)) for _, cell in columns)) for network in found.networks]
    sets = found.labelled_sets
    over = f": mean ± standard deviation over {sets} labelled sets" if sets > 1 else ""
    units = "patients" if found.patients else "images"
    caption = (
        f"Accuracy on frozen features ({found.layer}) in %, {found.labels:,} labels, "
        f"{size:,} test {units}{over} [95 % interval, by bootstrap]"
    )
    return Table(caption, tuple(head for head, _ in columns), tuple(rows))


def _metric_column(name: str, title: str, metric: str) -> tuple[str, Callable[[Probed], str]]:
    """The head and the cell of a metric of a probe; the cell of the accuracy has the interval."""
    first = metric == "accuracy"
    form = with_interval if first else lambda estimate: mean_std(estimate, tenths)
    head = title if first else f"{title}, {METRICS[metric].title}"
    return head, lambda network: form(network.probes[name].metrics.get(metric))


def main(argv: list[str]) -> None:
    """The command."""
    parser = Options(
        "probe",
        description="Linear probe and k-NN on frozen features, next to an untrained network.",
    )
    parser.add_argument("--workdir", required=True, help="of the run; it says which images")
    parser.add_argument("--networks", default="", help="labels, as rotation,simclr; default all")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        help="folder of a backbone; replaces the run's networks, or joins --networks",
    )
    parser.add_argument("--layer", default="pooled", help="pooled, or a stage of the backbone")
    parser.add_argument("--k", type=int, default=20, help="neighbours that vote")
    parser.add_argument("--out", type=Path, help=f"default WORKDIR/{records.PROBES}")
    parser.add_force()
    given = parser.parse_args(argv)
    out = given.out or Path(given.workdir) / records.PROBES
    if out.parent.is_dir() or given.out:  # else `probe_networks` says what is wrong
        outputs.expect(out, force=given.force)
    found = probe_networks(
        given.workdir,
        networks=words(given.networks),
        checkpoints=given.checkpoint,
        layer=given.layer,
        k=given.k,
    )
    outputs.write({out: records.encode(found)}, force=given.force)
    table = probe_table(found)
    print("\n".join([table.caption, "", *table_lines(table), "", f"All metrics: {out}"]))


def _pretrained(workdir: Path, labels: Sequence[str]) -> dict[str, Path]:
    """Pretraining stages by label: those of `labels`, or every stage once."""
    results = records.read(workdir / records.RESULTS, Results)
    stages = {n.label: n.pretrain for n in results.networks if n.pretrain}
    require(bool(stages), f"{workdir} holds no pretrained network; use --checkpoint")
    once = {stage: label for label, stage in reversed(stages.items())}
    labels = labels or [label for label, stage in stages.items() if once[stage] == label]
    chosen = {label: lookup(stages, label, "--networks") for label in labels}
    return {label: workdir / results.stages / stage for label, stage in chosen.items()}


def _check(network: Network, dataset: Dataset) -> None:
    """Raise `InputError` unless the network fits the images and has the layer."""
    plain, shape = network.plain, (2, *dataset.images.shape[1:])
    maps, variables = jax.eval_shape(
        lambda key: plain.backbone.init_with_output(key, jnp.zeros(shape)), jax.random.key(0)
    )
    own, needed = (
        {name: a.shape for name, a in flatten_dict(each).items()}
        for each in (network.variables, variables)
    )
    require(
        own == needed and len(plain.intensity.mean) in (1, dataset.channels),
        f"{network.label} is a network for other images than those of {dataset.name} "
        f"({'x'.join(map(str, shape[1:]))}); name another",
    )
    lookup(maps, plain.layer, "--layer")


def _untrained(trained: Sequence[Network], seed: int) -> list[Network]:
    """A network with random weights for each architecture and intensity.

    If there are several, the label of each names the first trained network of that kind.
    """
    kinds: dict[Any, Network] = {}
    for network in trained:
        module = network.plain.backbone
        single = module.backbone if isinstance(module, SideBySide) else module
        kinds.setdefault((single, network.plain.intensity), network)
    found = []
    for (module, _), like in kinds.items():
        plain = dataclasses.replace(like.plain, backbone=module)
        example = jax.ShapeDtypeStruct((2, *plain.images.arrays.shape[1:]), jnp.float32)
        variables = jax.jit(lambda key, m=module, x=example: m.lazy_init(key, x))(
            jax.random.key(seed)
        )
        variables = plain.fit(replicate(variables, plain.images.mesh))
        label = UNTRAINED if len(kinds) == 1 else f"{UNTRAINED} ({like.label})"
        found.append(Network(label, None, plain, variables))
    return found


def _probed(network: Network, dataset: Dataset, k: int, seed: int) -> Probed:
    """The probes of one network."""
    rows = network.plain.rows["judged"]
    with of_network(network.label):
        variables = replicate(network.variables, network.plain.images.mesh)
        x = network.plain.features(variables, "judged")
    return Probed(
        label=network.label,
        folder=None if network.folder is None else str(network.folder),
        features=x.shape[1],
        effective_rank=round(effective_rank(x), 6),
        probes=probe(x, rows, dataset, k=k, seed=seed),
    )
