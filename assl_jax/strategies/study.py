"""What every strategy is made of: pretrain a pool, fine-tune it, compare features."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from assl_jax.data import Dataset
from assl_jax.errors import lookup, require
from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.features import features, reestimate_batch_stats
from assl_jax.evaluation.finetune import Target, stratified_folds
from assl_jax.evaluation.metrics import scores, summarise
from assl_jax.lcka import lcka_matrix
from assl_jax.strategies.stages import Stage, StageCache, digest, write_array, write_json
from assl_jax.tasks import ProxyTask
from assl_jax.training.checkpoint import Checkpoints, load_tree, save_tree
from assl_jax.training.feed import Feed
from assl_jax.training.interrupt import check_stop
from assl_jax.training.loop import Logging, Training, fit
from assl_jax.training.metrics import MetricsLog
from assl_jax.training.progress import Progress
from assl_jax.training.sharding import check_batch, replicate
from assl_jax.training.state import init_state

Pool = tuple[str, ...]
Runs = dict[str, tuple[np.ndarray, np.ndarray, int]]  # training rows, rows to judge it on, seed
METRICS = ("accuracy", "balanced_accuracy", "auc")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """How a backbone is judged.

    Attributes:
      training: of one fine-tuning.
      seeds: fine-tunings on all labels, tested on the test set; each has its own head and batches,
        the same for every pool, so that pools are compared in pairs.
      folds: of the cross-validation inside the labelled set that selection looks at; 0 for none.
        All images of a patient lie in one fold.
      metric: what selection looks at, one of `METRICS`.
      shift, flip: augmentation, see `Classification`.
    """

    training: Training
    seeds: int = 3
    folds: int = 5
    metric: str = "accuracy"
    shift: int = 0
    flip: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimilaritySettings:
    """Which features are compared, and how.

    Attributes:
      n: number of unlabeled images; fewer if there are not so many.
      layer: "pooled" or a stage of the backbone.
      estimator: "biased" or "unbiased", see `lcka_matrix`.
      reestimate_bn: estimate BatchNorm's running statistics anew on plain images first.
    """

    n: int = 4096
    layer: str = "pooled"
    estimator: str = "biased"
    reestimate_bn: bool = True


@dataclasses.dataclass(kw_only=True)
class Study:
    """One data set, one backbone, a set of tasks, and the cache of what was trained.

    Attributes:
      dataset: images and splits.
      backbone, backbone_settings: the network and the plain values that determine it.
      tasks: by name.
      pretraining: of a single task; see `budget`.
      budget: "total" gives a pool as many steps as one task, "per_task" as many for each.
      target, similarity: settings.
      seed: of everything random.
      stages, log: where results and numbers go.
      mesh: devices.
      images_on: where the images are kept, see `Feed`.
      eval_batch_size: images per batch of a network in evaluation.
      checkpoint_every, log_every: steps.
    """

    dataset: Dataset
    backbone: nn.Module
    backbone_settings: Mapping[str, Any]
    tasks: Mapping[str, ProxyTask]
    pretraining: Training
    budget: str
    target: TargetSettings
    similarity: SimilaritySettings
    seed: int
    stages: StageCache
    log: MetricsLog
    mesh: Mesh
    images_on: str = "auto"
    eval_batch_size: int = 256
    checkpoint_every: int = 1000
    log_every: int = 50

    def __post_init__(self) -> None:
        self._images = Feed(self.dataset.images, self.mesh, self.images_on)
        self._common = {
            "data": self.dataset.fingerprint(),
            "backbone": dict(self.backbone_settings),
            "seed": self.seed,
        }
        self._evaluation: dict[str, Any] = {
            "intensity": self.dataset.intensity,
            "batch_size": self.eval_batch_size,
        }

    def check(self) -> None:
        """Raise `InputError` for what would fail later: sizes, folds, devices, the layer."""
        rows, images = len(self.dataset.unlabeled), self.dataset.images
        batch_size, n = self.pretraining.batch_size, min(self.similarity.n, rows)
        require(
            batch_size <= rows,
            f"pretrain.batch_size={batch_size} is larger than the data ({rows} unlabeled images); "
            "use a smaller one",
        )
        check_batch(batch_size, self.mesh, "pretrain.batch_size")
        check_batch(self.target.training.batch_size, self.mesh, "target.batch_size")
        require(self.target.seeds >= 1, f"target.seeds={self.target.seeds} must be at least 1")
        require(
            self.eval_batch_size >= 1, f"eval_batch_size={self.eval_batch_size} must be at least 1"
        )
        require(n >= 4, f"similarity.n={self.similarity.n}: at least 4 images must be compared")
        example = jax.ShapeDtypeStruct((2, *images.shape[1:]), images.dtype)
        for task in self.tasks.values():
            jax.eval_shape(task.make_batch, jax.random.key(0), example)
            task.label_table(len(self.dataset.space))
        maps = jax.eval_shape(
            lambda x: self.backbone.init_with_output(jax.random.key(0), x)[0],
            jax.ShapeDtypeStruct(example.shape, jnp.float32),
        )
        lookup(maps, self.similarity.layer, "similarity.layer")
        self._runs()

    def pretrain(self, pool: Pool) -> Stage:
        """Train a new backbone on the pool's tasks; its weights lie in the stage's `backbone/`."""
        training = self.pretraining
        if self.budget == "per_task":
            training = dataclasses.replace(training, steps=training.steps * len(pool))
        tasks = {name: self.tasks[name] for name in pool}
        rank = len(self.dataset.space)
        spec = {
            **self._common,
            "tasks": {name: dataclasses.asdict(task) for name, task in tasks.items()},
            "training": dataclasses.asdict(training),
            "reestimate_bn": self.similarity.reestimate_bn,
        }
        seed = int(digest(spec)[:7], 16)
        # These decide the result too: the schedule follows the pool's order, the running statistics
        # the sample that they are estimated on.
        spec["pool"] = list(pool)
        if self.similarity.reestimate_bn:
            spec["reestimated_on"] = [self.similarity.n, self.eval_batch_size]

        def compute(folder: Path) -> dict[str, Any]:
            tables = {name: task.label_table(rank) for name, task in tasks.items()}
            write_json(
                folder / "labels.json",
                {name: table.tolist() for name, table in tables.items() if table is not None},
            )
            speeds: list[float] = []
            record = self._recorder(folder, "pretrain", "+".join(pool), speeds)
            state = init_state(
                jax.random.key(seed),
                self.backbone,
                list(tasks.values()),
                training.optimiser,
                self._images.arrays,
            )
            checkpoints = Checkpoints(folder / "checkpoints")
            state = fit(
                state,
                backbone=self.backbone,
                tasks=tasks,
                feed=self._images,
                rows=self.dataset.unlabeled,
                training=training,
                seed=seed,
                checkpoints=checkpoints,
                checkpoint_every=self.checkpoint_every,
                logging=Logging(
                    title=f"pretrain {'+'.join(pool)}", every=self.log_every, record=record
                ),
            )
            checkpoints.close()
            variables = state.variables
            if self.similarity.reestimate_bn:
                variables = reestimate_batch_stats(
                    self.backbone,
                    variables,
                    self._images,
                    self._sample(),
                    **self._evaluation,
                )
            save_tree(folder / "backbone", variables)
            return {"images_per_s": statistics.median(speeds) if speeds else None}

        return self.stages.run("pretrain", "+".join(pool), spec, compute)

    def finetune(self, pool: Pool | None) -> Stage:
        """Fine-tune the pool's backbone (None: a network from scratch) over folds and seeds.

        The result is that of `summary`. Every run's probabilities lie in the stage's
        `predictions/`, `[n, k]` in the order of the rows that it was judged on.
        """
        parent = self.pretrain(pool) if pool else None
        spec = {
            **self._common,
            "target": dataclasses.asdict(self.target),
            "pretrained": parent.key if parent else None,
        }
        label = "+".join(pool) if pool else "scratch"

        def compute(folder: Path) -> dict[str, Any]:
            variables = self.load(parent.folder / "backbone") if parent else None
            predictions = folder / "predictions"
            predictions.mkdir(exist_ok=True)
            runs = self._runs()
            probabilities: dict[str, np.ndarray] = {}
            target = self._target()
            speeds: list[float] = []
            with Progress(f"fine-tune {label}", len(runs)) as progress:
                for i, (name, (train, test, seed)) in enumerate(runs.items(), 1):
                    done = predictions / f"{name.replace(' ', '_')}.npy"
                    if not done.exists():
                        check_stop(f"fine-tuning of {label}")
                        record = self._recorder(folder, "finetune", label, speeds, run=name)
                        logging = Logging(every=self.log_every, record=record)
                        state = target.finetune(variables, train, seed=seed, logging=logging)
                        if name == "test 0 0":
                            model = {"params": state.params, "batch_stats": state.batch_stats}
                            save_tree(folder / "model", model)
                        write_array(done, target.probabilities(state, test))
                    probabilities[name] = np.load(done, allow_pickle=False)
                    found = scores(self.dataset.labels[test], probabilities[name])
                    progress.update(i, f"accuracy {100 * found['accuracy']:.1f} %")
            return summary(self.dataset, runs, probabilities, self.target.metric)

        return self.stages.run("finetune", label, spec, compute)

    def similarities(self, pools: Sequence[Pool]) -> np.ndarray:
        """LCKA `[k, k]` between the pools' features, on one fixed set of unlabeled images."""
        files = [self.features(pool).folder / "features.npy" for pool in pools]
        stacked = [np.load(file, allow_pickle=False) for file in files]
        return np.asarray(lcka_matrix(stacked, estimator=self.similarity.estimator))

    def features(self, pool: Pool) -> Stage:
        """Features of the fixed set of unlabeled images, in the stage's `features.npy`."""
        parent = self.pretrain(pool)
        spec = {
            "pretrained": parent.key,
            "n": self.similarity.n,
            "layer": self.similarity.layer,
        }

        def compute(folder: Path) -> dict[str, Any]:
            x = features(
                self.backbone,
                self.load(parent.folder / "backbone"),
                self._images,
                self._sample(),
                layer=self.similarity.layer,
                **self._evaluation,
            )
            np.save(folder / "features.npy", x)
            return {"n": len(x), "d": x.shape[1]}

        return self.stages.run("features", "+".join(pool), spec, compute)

    def load(self, folder: Path) -> dict[str, Any]:
        """A backbone's variables from a folder written by `pretrain`."""
        return replicate(load_tree(folder), self.mesh)

    def _sample(self) -> np.ndarray:
        """The fixed set of unlabeled images that features are compared on."""
        rows = self.dataset.unlabeled
        return np.sort(np.random.default_rng(self.seed).permutation(rows)[: self.similarity.n])

    def _target(self) -> Target:
        s, d = self.target, self.dataset
        task = Classification(
            classes=d.num_classes, shift=s.shift, flip=s.flip, intensity=d.intensity
        )
        return Target(self.backbone, task, self._images, d.labels, s.training, self.eval_batch_size)

    def _runs(self) -> Runs:
        """Every fine-tuning by name."""
        runs = {}
        for i, rows in enumerate(self.dataset.labelled_sets):
            for s in range(self.target.seeds):
                runs[f"test {i} {s}"] = (rows, self.dataset.test, 1000 * self.seed + s)
            if not self.target.folds:
                continue
            folds = stratified_folds(
                self.dataset.labels[rows],
                self.target.folds,
                seed=self.seed,
                patients=self.dataset.whose[rows],
            )
            for f, fold in enumerate(folds):
                train = np.delete(rows, fold)
                runs[f"cv {i} {f}"] = (train, rows[fold], 1000 * self.seed + 500 + f)
        return runs

    def _recorder(
        self, folder: Path, kind: str, label: str, speeds: list[float], **place: str
    ) -> Callable[[dict[str, Any]], None]:
        place = {"stage": folder.name, "kind": kind, "label": label, **place}

        def record(values: dict[str, Any]) -> None:
            speeds.append(values["images_per_s"])
            self.log.write({**place, **values})

        return record


def summary(
    dataset: Dataset, runs: Runs, probabilities: Mapping[str, np.ndarray], metric: str
) -> dict[str, Any]:
    """What a stage of fine-tunings found, from the probabilities that each run gave.

    Returns:
      `accuracy`, `std` and `runs` on the test set; `metrics` and `confusion`, see
      `evaluation.metrics.summarise`; `selection` and `selection_std`, the cross-validated `metric`
      (None without folds).
    """
    tests = {name: p for name, p in probabilities.items() if name.startswith("test")}
    rows = dataset.test
    found = summarise(dataset.labels[rows], tests, dataset.whose[rows])
    accuracies = [scores(dataset.labels[rows], p)["accuracy"] for p in tests.values()]
    folds = [
        scores(dataset.labels[runs[name][1]], p)[metric]
        for name, p in probabilities.items()
        if name not in tests
    ]
    return {
        "accuracy": statistics.fmean(accuracies),
        "std": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "runs": accuracies,
        "selection": statistics.fmean(folds) if folds else None,
        "selection_std": statistics.stdev(folds) if len(folds) > 1 else None,
        **found,
    }
