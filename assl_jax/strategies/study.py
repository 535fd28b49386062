"""What every strategy is made of: pretrain a pool, fine-tune it, compare features."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from assl_jax.data import Dataset
from assl_jax.errors import lookup
from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.export import export_backbone, export_model
from assl_jax.evaluation.finetune import Target
from assl_jax.evaluation.scores import scores
from assl_jax.evaluation.plain import PlainImages
from assl_jax.evaluation.spectrum import effective_rank
from assl_jax.lcka import lcka_matrix
from assl_jax.models import SideBySide
from assl_jax.strategies.finetuning import (
    Runs,
    file_of,
    finetune_all,
    fold_runs,
    runs_on_all_labels,
    summary,
)
from assl_jax.strategies.network import Network
from assl_jax.strategies.settings import METRICS, SimilaritySettings, TargetSettings
from assl_jax.strategies.stages import Stage, StageCache, digest, write_array, write_json
from assl_jax.tasks import ProxyTask
from assl_jax.training import processes
from assl_jax.training.checkpoint import Checkpoints, load_tree
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Logging, Training, fit
from assl_jax.training.metrics_log import MetricsLog, recording
from assl_jax.training.penalty import Penalty
from assl_jax.training.sharding import replicate
from assl_jax.training.state import TrainState, init_state, name_key

WORDS = {"finetune": "fine-tune", "select": "cross-validate"}


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
        n, test = self.similarity.n, self.dataset.test
        sample = np.random.default_rng(self.seed).permutation(self.dataset.unlabeled)[:n]
        # No pretraining has seen the test images; their labels are not looked at.
        held_out = np.random.default_rng([self.seed, 1]).permutation(test)[:n]
        self._plain = PlainImages(
            backbone=self.backbone,
            images=self.images,
            rows={"unlabeled": np.sort(sample), "held_out": held_out},
            intensity=self.dataset.intensity,
            layer=self.similarity.layer,
            batch_size=self.eval_batch_size,
            reestimate=self.similarity.reestimate_bn,
        )
        self.networks: dict[str, Network] = {}  # those that were evaluated, by label

    def pretrain(self, network: Network) -> Stage:
        """Train a backbone on the pool's tasks; its weights lie in the stage's `backbone/`."""
        pool, again = sorted(network.pool), network.again
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
        # It decides the result too: the running statistics are estimated on that sample.
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
            with self._recording(folder, "pretrain", network) as record:
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
            fitted = self._plain.fit(state.variables)
            if processes.is_primary():
                settings, intensity = dict(self.backbone_settings), self.dataset.intensity
                place = folder / "backbone"
                export_backbone(place, fitted, settings=settings, intensity=intensity, pool=pool)
            return {"images_per_s": MetricsLog(folder).speed()}

        return self._stage("pretrain", network, spec, compute)

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
        return self._stage("finetune", network, spec, compute)

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
        return self._stage("select", network, spec, compute)

    def probabilities(self, network: Network) -> list[np.ndarray]:
        """What each fine-tuning on all labels said of the test set, `[n, k]`."""
        files = self.finetune(network).folder / "predictions"
        return [np.load(files / file_of(run), allow_pickle=False) for run in self._test_runs()]

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
        parent = self.pretrain(network) if network.pool else None
        spec = {
            "n": self.similarity.n,
            "layer": self.similarity.layer,
            **({"pretrained": parent.key} if parent else self._common),
            "reestimate_bn": self.similarity.reestimate_bn,
            **({"place": place} if place != "unlabeled" else {}),
        }

        def compute(folder: Path) -> dict[str, Any]:
            variables = self.load(parent) if parent else self._untrained()
            x = self._plain.features(variables, place)
            write_array(folder / "features.npy", x)
            return {"n": len(x), "d": x.shape[1]}

        return self._stage("features", network, spec, compute)

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

    def _stage(
        self,
        kind: str,
        network: Network,
        spec: dict[str, Any],
        compute: Callable[[Path], dict[str, Any]],
    ) -> Stage:
        return self.stages.run(kind, network.label, spec, compute, shown=self._label(network))

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

    def _untrained(self) -> dict[str, Any]:
        tasks = dict([next(iter(self.tasks.items()))])
        key = name_key(jax.random.key(self.seed), "untrained")
        fresh = self._fresh(key, tasks, self.pretraining).variables
        return self._plain.fit(replicate(fresh, self.images.mesh))

    def _observer(self, parent: Stage) -> Callable[[TrainState], dict[str, float]]:
        return self._plain.observer(self.load(parent), self._untrained(), self.similarity.estimator)

    def _features_of(self, network: Network, place: str) -> np.ndarray:
        folder = self.features(network, place=place).folder
        return np.load(folder / "features.npy", allow_pickle=False)

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
        """Every run's probabilities; the first network fine-tuned on all labels is kept."""
        copies = 1 + network.both
        backbone = self.backbone if copies == 1 else SideBySide(self.backbone, copies)

        def keep(state: TrainState) -> None:
            export_model(
                folder / "model",
                {"params": state.params, "batch_stats": state.batch_stats},
                settings={**self.backbone_settings, "copies": copies},
                intensity=self.dataset.intensity,
                classes=self.dataset.class_names,
            )

        with self._recording(folder, kind, network) as record:
            return finetune_all(
                self._target(backbone),
                self._pretrained(network),
                runs,
                folder=folder / "predictions",
                title=f"{WORDS[kind]} {self._label(network)}",
                logging=Logging(every=self.log_every, record=record),
                keep=keep if kind == "finetune" and processes.is_primary() else None,
            )

    def _target(self, backbone: nn.Module) -> Target:
        s, d = self.target, self.dataset
        task = Classification(
            classes=d.num_classes, shift=s.shift, flip=s.flip, intensity=d.intensity
        )
        return Target(backbone, task, self.images, d.labels, s.training, self.eval_batch_size)

    def _test_runs(self) -> Runs:
        return runs_on_all_labels(self.dataset, self.target, self.seed)

    def _folds(self) -> Runs:
        return fold_runs(self.dataset, self.target, self.seed)

    def _recording(self, folder: Path, kind: str, network: Network) -> Any:
        return recording(folder, stage=folder.name, kind=kind, label=self._label(network))
