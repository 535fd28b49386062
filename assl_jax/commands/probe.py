"""Linear probe and nearest neighbours on the frozen features of a run's networks.

python -m assl_jax.probe --workdir=runs/mtassl_digits [--networks=rotation,simclr --layer=pooled]
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from assl_jax.data import Dataset, load
from assl_jax.errors import InputError, lookup, require
from assl_jax.evaluation.export import load_backbone, load_intensity
from assl_jax.evaluation.features import features, reestimate_batch_stats
from assl_jax.evaluation.probes import probe
from assl_jax.evaluation.spectrum import effective_rank
from assl_jax.models import SideBySide
from assl_jax.ops.intensity import Intensity
from assl_jax.report.metrics_table import METRICS, SMALL, measured
from assl_jax.report.table import Cell, Row, Table, mean_std, percent, text_lines
from assl_jax.strategies.stages import read_json, write_json
from assl_jax.training.feed import Feed
from assl_jax.console import Progress
from assl_jax.training.sharding import make_mesh, replicate

UNTRAINED = "untrained"
PROBES = {"linear": "Linear", "knn": "k-NN"}


class Network(NamedTuple):
    """A backbone under the name that it is shown by, and where it came from."""

    label: str
    folder: Path | None
    module: nn.Module
    variables: Any
    intensity: Intensity


def probe_networks(
    workdir: str | Path,
    *,
    networks: Sequence[str] = (),
    checkpoints: Sequence[str | Path] = (),
    layer: str = "pooled",
    k: int = 20,
) -> dict[str, Any]:
    """What the frozen features of a run's networks, and of untrained ones, know of the classes.

    Features of the labelled and the test images are computed without augmentation; see
    `evaluation.probes` and `evaluation.spectrum` for what is made of them.

    Args:
      workdir: of the run; its config says which images and labels.
      networks: labels of pretrained networks in the run's results; none takes every one, or none
        of them where there are `checkpoints`.
      checkpoints: folders that `load_backbone` reads.
      layer: "pooled", or a stage of the backbone, averaged over space.
      k: neighbours that vote.

    Returns:
      Settings and "networks", ready for JSON: first, for each architecture, "untrained" (random
      weights, running statistics estimated on the images that the run estimates them on), then the
      others. Each has "linear" and "knn" (see `probe`), and "effective_rank" of its features of
      the labelled and test images together.

    Raises:
      InputError: no run, or an unfinished one; an unknown network or layer; a checkpoint that does
        not fit the images.
    """
    require(k >= 1, f"k={k} must be at least 1")
    workdir = Path(workdir)
    config = read_json(workdir / "config.json")
    require(bool(config), f"{workdir} holds no run (no config.json); name the --workdir of one")
    folders = _pretrained(workdir, networks) if networks or not checkpoints else {}
    folders |= {str(folder): Path(folder) for folder in checkpoints}
    trained = [
        Network(label, folder, *load_backbone(folder), load_intensity(folder))
        for label, folder in folders.items()
    ]
    # JSON has no tuples; the sources take those of the config.
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in config["data"].items()
    }
    dataset = load(settings.pop("name"), **settings)
    for network in trained:
        _check(network, dataset, layer)

    images = Feed(dataset.images, make_mesh(), config["images_on"])
    rows = np.unique(np.concatenate([*dataset.labelled_sets, dataset.test]))
    entries = []
    compared = [*_untrained(trained, dataset, images, config), *trained]
    with Progress("probe", len(compared)) as progress:
        for i, network in enumerate(compared, 1):
            x = features(
                network.module,
                replicate(network.variables, images.mesh),
                images,
                rows,
                intensity=network.intensity,
                layer=layer,
                batch_size=config["eval_batch_size"],
            )
            require(
                bool(np.isfinite(x).all()),
                f"{network.label} has features that are not finite; train it again with a lower "
                "learning rate",
            )
            judged = probe(
                x,
                dataset.labels[rows],
                [np.searchsorted(rows, labelled) for labelled in dataset.labelled_sets],
                np.searchsorted(rows, dataset.test),
                classes=dataset.num_classes,
                patients=dataset.groups[rows],
                k=k,
                seed=config["seed"],
            )
            entries.append(
                {
                    "label": network.label,
                    "folder": None if network.folder is None else str(network.folder),
                    "features": x.shape[1],
                    "effective_rank": round(effective_rank(x), 6),
                    **judged,
                }
            )
            accuracy = judged["linear"]["metrics"]["accuracy"]["mean"]
            progress.update(i, f"{network.label}: {percent(accuracy, digits=1)} %")
    return {
        "data": dataset.name,
        "layer": layer,
        "k": k,
        "classes": list(dataset.class_names),
        "images": len(rows),
        "labels": len(dataset.labelled_sets[0]),
        "labelled_sets": len(dataset.labelled_sets),
        "test_images": len(dataset.test),
        "patients": dataset.test_patients,
        "networks": entries,
    }


def probe_table(found: Mapping[str, Any]) -> Table:
    """Accuracies with intervals, and effective ranks; other metrics where accuracies may mislead.

    That is with two classes, and with a test set of fewer than `SMALL` patients (images, where
    patients are not known).
    """
    size = found["patients"] or found["test_images"]
    more = size < SMALL or len(found["classes"]) == 2
    heads: list[str] = []
    for name in PROBES.values():
        heads += [name, *([f"{name}, balanced", f"{name}, AUC"] if more else [])]
    rows = []
    for entry in found["networks"]:
        cells = [entry["label"]]
        for which in PROBES:
            accuracy, *others = (measured(entry[which], metric) for metric in METRICS)
            cells.append(_with_interval(accuracy))
            cells += [_figure(figures) for figures in others if more]
        cells.append(f"{entry['effective_rank']:.1f}")
        rows.append(Row(tuple(map(Cell, cells))))
    sets = found["labelled_sets"]
    over = f": mean ± standard deviation over {sets} labelled sets" if sets > 1 else ""
    who = "patients" if found["patients"] else "images"
    caption = (
        f"Accuracy on frozen features ({found['layer']}) in %, {found['labels']:,} labels, "
        f"{size:,} test {who}{over} [95 % interval, by bootstrap]"
    )
    return Table(caption, ("Network", *heads, "Effective rank"), tuple(rows))


def main(argv: list[str]) -> None:
    """The command; a mistake is one line and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m assl_jax.probe",
        description="Linear probe and k-NN on frozen features, beside an untrained network.",
    )
    parser.add_argument("--workdir", required=True, help="of the run whose images are taken")
    parser.add_argument("--networks", default="", help="labels, as rotation,simclr; default all")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        help="folder of a backbone, in place of the run's networks, or beside --networks",
    )
    parser.add_argument("--layer", default="pooled", help="pooled, or a stage of the backbone")
    parser.add_argument("--k", type=int, default=20, help="neighbours that vote")
    parser.add_argument("--out", type=Path, help="default WORKDIR/probes.json")
    given = parser.parse_args(argv)
    out = given.out or Path(given.workdir) / "probes.json"
    names = [name.strip() for name in given.networks.split(",") if name.strip()]
    try:
        require(
            not given.out or (out.parent.is_dir() and not out.is_dir()),
            f"--out={out} is no file in a folder that exists; choose another",
        )
        found = probe_networks(
            given.workdir,
            networks=names,
            checkpoints=given.checkpoint,
            layer=given.layer,
            k=given.k,
        )
        try:
            write_json(out, found)
        except OSError as error:
            raise InputError(f"{out} cannot be written: {error.strerror}; use --out") from error
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    table = probe_table(found)
    print("\n".join([table.caption, "", *text_lines(table), "", f"All metrics: {out}"]))


def _pretrained(workdir: Path, names: Sequence[str]) -> dict[str, Path]:
    """Stages of the networks called `names`, or of every pretrained one, none twice."""
    results = read_json(workdir / "results.json")
    require(bool(results), f"{workdir} holds no finished run (no results.json); run it first")
    require(
        "networks" in results, f"{workdir}/results.json names no networks; run the same config anew"
    )
    stages = {n["label"]: n["pretrain"] for n in results["networks"] if n["pretrain"]}
    require(bool(stages), f"{workdir} holds no pretrained network; use --checkpoint")
    first = {stage: label for label, stage in reversed(stages.items())}
    names = names or [label for label, stage in stages.items() if first[stage] == label]
    chosen = {name: lookup(stages, name, "--networks") for name in names}
    return {name: workdir / results["stages"] / stage for name, stage in chosen.items()}


def _check(network: Network, dataset: Dataset, layer: str) -> None:
    """Raise `InputError` unless the network takes such images and has the layer."""
    shape = (2, *dataset.images.shape[1:])
    maps, variables = jax.eval_shape(
        lambda key: network.module.init_with_output(key, jnp.zeros(shape)), jax.random.key(0)
    )
    own, needed = (jax.tree.map(lambda a: a.shape, v) for v in (network.variables, variables))
    require(
        own == needed and len(network.intensity.mean) in (1, dataset.channels),
        f"{network.label} is a network for other images than those of {dataset.name} "
        f"({'x'.join(map(str, shape[1:]))}); name another",
    )
    lookup(maps, layer, "--layer")


def _untrained(
    trained: Sequence[Network], dataset: Dataset, images: Feed, config: Mapping[str, Any]
) -> list[Network]:
    """A network with random weights for every architecture, named after the first of its kind."""
    kinds: dict[Any, str] = {}
    for network in trained:
        module = network.module
        single = module.backbone if isinstance(module, SideBySide) else module
        kinds.setdefault((single, network.intensity), network.label)
    sample = np.random.default_rng(config["seed"]).permutation(dataset.unlabeled)
    found = []
    for (module, intensity), like in kinds.items():
        variables = _random(module, dataset.images.shape[1:], config["seed"])
        variables = replicate(variables, images.mesh)
        if config["similarity"]["reestimate_bn"]:
            variables = reestimate_batch_stats(
                module,
                variables,
                images,
                np.sort(sample[: config["similarity"]["n"]]),
                intensity=intensity,
                batch_size=config["eval_batch_size"],
            )
        label = UNTRAINED if len(kinds) == 1 else f"{UNTRAINED} ({like})"
        found.append(Network(label, None, module, variables, intensity))
    return found


def _random(module: nn.Module, shape: tuple[int, ...], seed: int) -> Any:
    """Random weights for images `[*space, c]`."""
    example = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    return jax.jit(lambda key: module.lazy_init(key, example))(jax.random.key(seed))


def _figure(figures: Mapping[str, Any]) -> str:
    return mean_std(figures.get("mean"), figures.get("std"), digits=1)


def _with_interval(figures: Mapping[str, Any]) -> str:
    low, high = (percent(figures[end], digits=1) for end in ("low", "high"))
    return f"{_figure(figures)} [{low}, {high}]"


if __name__ == "__main__":
    main(sys.argv[1:])
