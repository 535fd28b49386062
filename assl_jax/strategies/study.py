"""What every strategy is made of: pretrain a pool, fine-tune it, compare features."""

import contextlib
import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from assl_jax.data import Dataset
from assl_jax.errors import lookup, require
from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.export import export_backbone, export_model
from assl_jax.evaluation.features import features, reestimate_batch_stats
from assl_jax.evaluation.finetune import Target, stratified_folds
from assl_jax.evaluation.metrics import scores, summarise
from assl_jax.evaluation.spectrum import effective_rank
from assl_jax.lcka import lcka_matrix
from assl_jax.models import SideBySide
from assl_jax.strategies.settings import METRICS, SecondRun, SimilaritySettings, TargetSettings
from assl_jax.strategies.stages import Stage, StageCache, digest, write_array, write_json
from assl_jax.tasks import ProxyTask
from assl_jax.training.checkpoint import Checkpoints, load_tree
from assl_jax.training.feed import Feed
from assl_jax.training.interrupt import check_stop
from assl_jax.training.loop import Logging, Training, fit
from assl_jax.training.metrics import MetricsLog
from assl_jax.training.penalty import Penalty
from assl_jax.training.progress import Progress
from assl_jax.training.sharding import check_batch, replicate
from assl_jax.training.state import TrainState, init_state, name_key

Pool = tuple[str, ...]
Runs = dict[str, tuple[np.ndarray, np.ndarray, int]]  # training rows, rows to judge it on, seed
PLACES = ("unlabeled", "held_out")
OBSERVED = 1024  # held-out images that a network is observed on while it is trained


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that a study can train.

    Attributes:
      pool: the proxy tasks; empty for a network without pretraining.
      again: None for the first training; otherwise a second one on the same tasks.
    """

    pool: Pool = ()
    again: SecondRun | None = None

    @property
    def first(self) -> "Network":
        """The first training on the same tasks."""
        return Network(self.pool)

    @property
    def variant(self) -> str:
        """ "scratch", "plain", "second_run" or "self_assl"."""
        if not self.pool:
            return "scratch"
        return self.again.variant if self.again else "plain"

    @property
    def label(self) -> str:
        """`rotation+src`, `rotation.self_assl`, `scratch`."""
        name = "+".join(self.pool) or "scratch"
        return f"{name}.{self.variant}" if self.again else name

    @property
    def both(self) -> bool:
        """Whether first and second network are fine-tuned side by side."""
        return self.again is not None and self.again.use == "both"


SCRATCH = Network()


@dataclasses.dataclass(kw_only=True)
class Study:
    """One data set, one backbone, a set of tasks, and the cache of what was trained.

    Attributes:
      dataset: images and splits.
      images: the data set's images where the devices find them.
      backbone, backbone_settings: the network and the plain values that determine it.
      tasks: by name.
      pretraining: of a single task; see `budget`.
      budget: "total" gives a pool as many steps as one task, "per_task" as many for each.
      target, similarity: settings.
      seed: of everything random.
      stages: where results go.
      prefix: before every label, to tell several backbones apart.
      eval_batch_size: images per batch of a network in evaluation.
      checkpoint_every, log_every: steps.
    """

    dataset: Dataset
    images: Feed
    backbone: nn.Module
    backbone_settings: Mapping[str, Any]
    tasks: Mapping[str, ProxyTask]
    pretraining: Training
    budget: str
    target: TargetSettings
    similarity: SimilaritySettings
    seed: int
    stages: StageCache
    prefix: str = ""
    eval_batch_size: int = 256
    checkpoint_every: int = 1000
    log_every: int = 50

    def __post_init__(self) -> None:
        self._common = {
            "data": self.dataset.fingerprint(),
            "backbone": dict(self.backbone_settings),
            "seed": self.seed,
        }
        self._evaluation: dict[str, Any] = {
            "intensity": self.dataset.intensity,
            "batch_size": self.eval_batch_size,
        }
        self.networks: dict[str, Network] = {}  # those that were evaluated, by label

    def check(self, penalty: Penalty = Penalty()) -> None:  # noqa: B008  frozen
        """Raise `InputError` for what would fail later: sizes, folds, devices, layers."""
        rows, images, mesh = len(self.dataset.unlabeled), self.dataset.images, self.images.mesh
        batch_size, n = self.pretraining.batch_size, min(self.similarity.n, rows)
        require(
            batch_size <= rows,
            f"pretrain.batch_size={batch_size} is larger than the data ({rows} unlabeled images); "
            "use a smaller one",
        )
        check_batch(batch_size, mesh, "pretrain.batch_size")
        check_batch(self.target.training.batch_size, mesh, "target.batch_size")
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
        lookup(maps, penalty.layer, "self_assl.layer")
        self._test_runs(), self._folds()

    def pretrain(self, network: Network) -> Stage:
        """Train a backbone on the pool's tasks; its weights lie in the stage's `backbone/`."""
        pool, again = network.pool, network.again
        parent = self.pretrain(network.first) if again else None
        training = self.pretraining
        if self.budget == "per_task":
            training = dataclasses.replace(training, steps=training.steps * len(pool))
        tasks = {name: self.tasks[name] for name in pool}
        rank = len(self.dataset.space)
        spec: dict[str, Any] = {
            **self._common,
            "tasks": {name: dataclasses.asdict(task) for name, task in tasks.items()},
            "training": dataclasses.asdict(training),
            "reestimate_bn": self.similarity.reestimate_bn,
        }
        # All second runs share their random numbers, whatever the penalty's weight.
        seed = int(digest({**spec, "run": 2} if again else spec)[:7], 16)
        # These decide the result too: the schedule follows the pool's order, the running statistics
        # the sample that they are estimated on.
        spec["pool"] = list(pool)
        if self.similarity.reestimate_bn:
            spec["reestimated_on"] = [self.similarity.n, self.eval_batch_size]
        if again and parent:
            spec["first"] = parent.key
            spec["penalty"] = dataclasses.asdict(again.penalty) if again.penalty.weight else None
            spec["init_from"] = again.init_from

        def compute(folder: Path) -> dict[str, Any]:
            tables = {name: task.label_table(rank) for name, task in tasks.items()}
            write_json(
                folder / "labels.json",
                {name: table.tolist() for name, table in tables.items() if table is not None},
            )
            penalty = again.penalty if again else None
            state = self._fresh(jax.random.key(seed), tasks, training, penalty)
            first = None
            if again and parent:
                # Its own running statistics: those of the proxy tasks' inputs, which f' sees too.
                trained = self._last(parent, tasks, training)
                first = trained.variables
                if again.init_from == "f_p":
                    state = state._replace(params=trained.params, batch_stats=trained.batch_stats)
            checkpoints = Checkpoints(folder / "checkpoints")
            speeds: list[float] = []
            with self._recorder(folder, "pretrain", network, speeds) as record:
                state = fit(
                    state,
                    backbone=self.backbone,
                    tasks=tasks,
                    feed=self.images,
                    rows=self.dataset.unlabeled,
                    training=training,
                    seed=seed,
                    penalty=penalty,
                    first=first,
                    checkpoints=checkpoints,
                    checkpoint_every=self.checkpoint_every,
                    logging=Logging(
                        title=f"pretrain {self._label(network)}",
                        every=self.log_every,
                        record=record,
                        observe=self._observer(parent) if parent else None,
                        observe_every=max(1, training.steps // 10),
                    ),
                )
            checkpoints.close()
            export_backbone(
                folder / "backbone",
                self._for_plain_images(state.variables),
                settings=dict(self.backbone_settings),
                intensity=self.dataset.intensity,
                pool=pool,
            )
            return {"images_per_s": statistics.median(speeds) if speeds else None}

        return self.stages.run("pretrain", self._label(network), spec, compute)

    def evaluate(self, network: Network) -> dict[str, Any]:
        """Fine-tune a network and judge it: the entry of `results.json`.

        Returns:
          `accuracy`, `std`, `runs`, `metrics` and `confusion` on the test set, see `finetune`;
          `selection` and `selection_std`, the cross-validated `target.metric` (None without folds).
        """
        self.networks[network.label] = network
        found = dict(self.finetune(network).result)
        folds: list[float] = []
        if self.target.folds:
            measured = self.cross_validate(network).result
            folds = lookup(measured, self.target.metric, "search.metric of a fold")
        return {
            **found,
            "selection": statistics.fmean(folds) if folds else None,
            "selection_std": statistics.stdev(folds) if len(folds) > 1 else None,
        }

    def finetune(self, network: Network) -> Stage:
        """Fine-tune on all labels, for every labelled set and seed, and test.

        The result is that of `summary`. Every run's probabilities lie in the stage's
        `predictions/`, `[n, k]` in the order of the test set.
        """

        def compute(folder: Path) -> dict[str, Any]:
            probabilities = self._finetune_all(folder, "finetune", network, self._test_runs())
            return summary(self.dataset, probabilities)

        spec = self._target_spec(network) | {"seeds": self.target.seeds}
        return self.stages.run("finetune", self._label(network), spec, compute)

    def cross_validate(self, network: Network) -> Stage:
        """Fine-tune inside each labelled set, fold by fold; the result has each metric's values.

        The test set is not looked at.
        """

        def compute(folder: Path) -> dict[str, Any]:
            runs = self._folds()
            probabilities = self._finetune_all(folder, "select", network, runs)
            each = [scores(self.dataset.labels[runs[k][1]], p) for k, p in probabilities.items()]
            return {m: [s[m] for s in each] for m in METRICS if all(m in s for s in each)}

        spec = self._target_spec(network) | {"folds": self.target.folds}
        return self.stages.run("select", self._label(network), spec, compute)

    def probabilities(self, network: Network) -> list[np.ndarray]:
        """What each fine-tuning on all labels said of the test set, `[n, k]`."""
        files = self.finetune(network).folder / "predictions"
        return [np.load(files / _file(name), allow_pickle=False) for name in self._test_runs()]

    def similarities(self, networks: Sequence[Network], *, place: str = "unlabeled") -> np.ndarray:
        """LCKA `[k, k]` between networks' features, on one fixed set of images; see `features`."""
        stacked = [self._features_of(network, place) for network in networks]
        return np.asarray(lcka_matrix(stacked, estimator=self.similarity.estimator))

    def effective_rank(self, network: Network, *, place: str = "held_out") -> float:
        """Effective rank of a network's features."""
        return effective_rank(self._features_of(network, place))

    def features(self, network: Network, *, place: str = "unlabeled") -> Stage:
        """Features of a fixed set of images, in the stage's `features.npy`.

        Args:
          network: `SCRATCH` for an untrained one.
          place: "unlabeled", or "held_out": images of the test set, whose labels are not looked at.
        """
        lookup(dict.fromkeys(PLACES), place, "place")
        parent = self.pretrain(network) if network.pool else None
        spec = {
            "n": self.similarity.n,
            "layer": self.similarity.layer,
            **({"pretrained": parent.key} if parent else self._common),
            **({"place": place} if place != "unlabeled" else {}),
        }
        rows = self._sample() if place == "unlabeled" else self._held_out()

        def compute(folder: Path) -> dict[str, Any]:
            variables = self.load(parent) if parent else self._untrained()
            x = features(
                self.backbone,
                variables,
                self.images,
                rows,
                layer=self.similarity.layer,
                **self._evaluation,
            )
            np.save(folder / "features.npy", x)
            return {"n": len(x), "d": x.shape[1]}

        return self.stages.run("features", self._label(network), spec, compute)

    def load(self, stage: Stage) -> dict[str, Any]:
        """The variables of a pretraining stage's backbone, on the devices."""
        return replicate(load_tree(stage.folder / "backbone" / "variables"), self.images.mesh)

    def record(self) -> list[dict[str, Any]]:
        """The networks that were evaluated, with the stages that hold them."""
        return [
            {
                "label": self._label(network),
                "pool": list(network.pool),
                "variant": network.variant,
                "backbone": self.backbone_settings.get("name"),
                "pretrain": self.pretrain(network).folder.name if network.pool else None,
                "finetune": self.finetune(network).folder.name,
            }
            for network in self.networks.values()
        ]

    def _label(self, network: Network) -> str:
        return f"{self.prefix}/{network.label}" if self.prefix else network.label

    def _fresh(
        self,
        key: jax.Array,
        tasks: Mapping[str, ProxyTask],
        training: Training,
        penalty: Penalty | None = None,
    ) -> TrainState:
        return init_state(
            key,
            self.backbone,
            list(tasks.values()),
            training.optimiser,
            self.images.arrays,
            penalty=penalty,
        )

    def _last(self, stage: Stage, tasks: Mapping[str, ProxyTask], training: Training) -> TrainState:
        """The state at the end of a finished pretraining without a penalty."""
        checkpoints = Checkpoints(stage.folder / "checkpoints")
        try:
            like = self._fresh(jax.random.key(0), tasks, training)
            return checkpoints.restore(like, self.images.mesh)
        finally:
            checkpoints.close()

    def _for_plain_images(self, variables: dict[str, Any]) -> dict[str, Any]:
        """With running statistics that fit plain images, if the settings say so."""
        if not self.similarity.reestimate_bn:
            return variables
        return reestimate_batch_stats(
            self.backbone, variables, self.images, self._sample(), **self._evaluation
        )

    def _untrained(self) -> dict[str, Any]:
        tasks = dict([next(iter(self.tasks.items()))])
        key = name_key(jax.random.key(self.seed), "untrained")
        return self._for_plain_images(self._fresh(key, tasks, self.pretraining).variables)

    def _observer(self, parent: Stage):
        """What `Logging.observe` calls: f' on held-out images, beside f_p and an untrained one."""
        rows, sample = self._held_out()[:OBSERVED], self._sample()[:OBSERVED]

        def of(variables: dict[str, Any]) -> np.ndarray:
            fitted = reestimate_batch_stats(
                self.backbone, variables, self.images, sample, **self._evaluation
            )
            layer = self.similarity.layer
            return features(
                self.backbone, fitted, self.images, rows, layer=layer, **self._evaluation
            )

        others = [of(self.load(parent)), of(self._untrained())]

        def observe(state: TrainState) -> dict[str, float]:
            x = of(state.variables)
            estimator = self.similarity.estimator
            first, untrained = map(float, lcka_matrix([x, *others], estimator=estimator)[0, 1:])
            return {
                "similarity_to_first": first,
                "similarity_to_untrained": untrained,
                "effective_rank": effective_rank(x),
            }

        return observe

    def _features_of(self, network: Network, place: str) -> np.ndarray:
        folder = self.features(network, place=place).folder
        return np.load(folder / "features.npy", allow_pickle=False)

    def _sample(self) -> np.ndarray:
        """The fixed set of unlabeled images that features are compared on."""
        rows = self.dataset.unlabeled
        return np.sort(np.random.default_rng(self.seed).permutation(rows)[: self.similarity.n])

    def _held_out(self) -> np.ndarray:
        """A fixed set of test images, in random order; no pretraining has seen them."""
        rng = np.random.default_rng([self.seed, 1])
        return rng.permutation(self.dataset.test)[: self.similarity.n]

    def _target(self, copies: int) -> Target:
        s, d = self.target, self.dataset
        task = Classification(
            classes=d.num_classes, shift=s.shift, flip=s.flip, intensity=d.intensity
        )
        backbone = self.backbone if copies == 1 else SideBySide(self.backbone, copies)
        return Target(backbone, task, self.images, d.labels, s.training, self.eval_batch_size)

    def _target_spec(self, network: Network) -> dict[str, Any]:
        parents = [network.first, network] if network.both else [network]
        keys = [self.pretrain(parent).key for parent in parents if parent.pool]
        return {
            **self._common,
            "training": dataclasses.asdict(self.target.training),
            "shift": self.target.shift,
            "flip": self.target.flip,
            "pretrained": keys,
        }

    def _pretrained(self, network: Network) -> dict[str, Any] | None:
        """What fine-tuning starts from; None from scratch."""
        if not network.pool:
            return None
        own = self.load(self.pretrain(network))
        if not network.both:
            return own
        return SideBySide.gather(self.load(self.pretrain(network.first)), own)

    def _finetune_all(
        self, folder: Path, kind: str, network: Network, runs: Runs
    ) -> dict[str, np.ndarray]:
        """Every run's probabilities; those that are in the folder already are read."""
        variables, target = self._pretrained(network), self._target(1 + network.both)
        label = self._label(network)
        predictions = folder / "predictions"
        predictions.mkdir(exist_ok=True)
        probabilities: dict[str, np.ndarray] = {}
        words = {"finetune": "fine-tune", "select": "cross-validate"}[kind]
        with (
            Progress(f"{words} {label}", len(runs)) as progress,
            self._recorder(folder, kind, network, []) as record,
        ):
            for i, (name, (train, test, seed)) in enumerate(runs.items(), 1):
                done = predictions / _file(name)
                if not done.exists():
                    check_stop(f"fine-tuning of {label}")

                    def named(values: dict[str, Any], run: str = name) -> None:
                        record({"run": run, **values})

                    logging = Logging(every=self.log_every, record=named)
                    state = target.finetune(variables, train, seed=seed, logging=logging)
                    if kind == "finetune" and i == 1:
                        self._export_model(folder / "model", state, network)
                    write_array(done, target.probabilities(state, test))
                probabilities[name] = np.load(done, allow_pickle=False)
                found = scores(self.dataset.labels[test], probabilities[name])
                progress.update(i, f"accuracy {100 * found['accuracy']:.1f} %")
        return probabilities

    def _export_model(self, folder: Path, state: TrainState, network: Network) -> None:
        export_model(
            folder,
            {"params": state.params, "batch_stats": state.batch_stats},
            settings={**self.backbone_settings, "copies": 1 + network.both},
            intensity=self.dataset.intensity,
            classes=self.dataset.class_names,
        )

    def _test_runs(self) -> Runs:
        """Fine-tunings on all labels, by name."""
        return {
            f"test {i} {s}": (rows, self.dataset.test, 1000 * self.seed + s)
            for i, rows in enumerate(self.dataset.labelled_sets)
            for s in range(self.target.seeds)
        }

    def _folds(self) -> Runs:
        """Fine-tunings of the cross-validation, by name."""
        runs = {}
        for i, rows in enumerate(self.dataset.labelled_sets if self.target.folds else ()):
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

    @contextlib.contextmanager
    def _recorder(
        self, folder: Path, kind: str, network: Network, speeds: list[float]
    ) -> Iterator[Any]:
        """A function that logs a record of this stage."""
        place = {"stage": folder.name, "kind": kind, "label": self._label(network)}
        with contextlib.closing(MetricsLog(folder)) as log:

            def record(values: dict[str, Any]) -> None:
                if "images_per_s" in values:
                    speeds.append(values["images_per_s"])
                log.write({**place, **values})

            yield record


def _file(run: str) -> str:
    return f"{run.replace(' ', '_')}.npy"


def summary(dataset: Dataset, probabilities: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What fine-tunings found on the test set, from the probabilities that each run gave.

    Returns:
      `accuracy`, `std` and `runs`; `metrics` and `confusion`, see `evaluation.metrics.summarise`.
    """
    rows = dataset.test
    accuracies = [scores(dataset.labels[rows], p)["accuracy"] for p in probabilities.values()]
    return {
        "accuracy": statistics.fmean(accuracies),
        "std": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "runs": accuracies,
        **summarise(dataset.labels[rows], probabilities, dataset.whose[rows]),
    }
