"""A study: one data set, one backbone, a set of tasks, and how networks are trained and judged."""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from assl_jax.data import Dataset
from assl_jax.evaluation.plain import PlainImages
from assl_jax.evaluation.student import StudentSettings
from assl_jax.files import digest
from assl_jax.models import fixed_elsewhere
from assl_jax.models.base import POOLED
from assl_jax.objectives.penalty import Penalty
from assl_jax.records import SCRATCH, START, Network, Pool
from assl_jax.seeds import derived
from assl_jax.strategies.settings import (
    DistilSettings,
    PretrainSettings,
    SimilaritySettings,
    TargetSettings,
)
from assl_jax.strategies.stage import StageSpec
from assl_jax.tasks import ProxyTask
from assl_jax.training import trackers
from assl_jax.training.checkpoint import CheckpointPolicy
from assl_jax.training.feed import Feed
from assl_jax.training.metrics_log import recording


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
    """Weights that a user brings.

    Attributes:
      variables: the backbone's `{"params", "batch_stats"}`.
      digest: of their content.
    """

    variables: Mapping[str, Any]
    digest: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What the stages of one data set and one backbone share.

    Attributes:
      dataset: images and splits.
      images: the data set's images, on the devices or on the host.
      backbone, backbone_settings: the network, and the plain values that determine it.
      tasks: by name.
      pretrain, distil, penalty: how networks are trained, see their classes.
      target, similarity: how networks are judged and compared.
      student: how a student is trained.
      seed: of the run.
      metric: what selection looks at, one of `METRICS`.
      cross_validated: whether networks are also cross-validated, to select by it.
      rungs: shares of a pretraining after which a search looks at it, in rising order.
      given: weights that the user brings, by name: teachers, which are members of a pool as tasks
        are, and `START`, which every pretraining begins with.
      prefix: stands before every label, to tell several backbones apart.
      eval_batch_size: images in a batch in evaluation mode.
      checkpoints: when trainings write them.
      log_every: steps between two lines of a log.
      log_to: where the curves of a stage are shown, see `training.trackers.TRACKERS`.
    """

    dataset: Dataset
    images: Feed
    backbone: nn.Module
    backbone_settings: Mapping[str, Any]
    tasks: Mapping[str, ProxyTask]
    pretrain: PretrainSettings
    distil: DistilSettings
    penalty: Penalty
    target: TargetSettings
    similarity: SimilaritySettings
    student: StudentSettings = StudentSettings()
    seed: int
    metric: str = "accuracy"
    cross_validated: bool = True
    rungs: tuple[float, ...] = ()
    given: Mapping[str, Given] = dataclasses.field(default_factory=dict)
    prefix: str = ""
    eval_batch_size: int = 256
    checkpoints: CheckpointPolicy = CheckpointPolicy()
    log_every: int = 50
    log_to: tuple[str, ...] = trackers.DEFAULT

    @property
    def name(self) -> str:
        """Of the backbone."""
        return self.backbone_settings["name"]

    @functools.cached_property
    def width(self) -> int:
        """Number of the backbone's pooled features."""
        images = self.dataset.images
        x = jax.ShapeDtypeStruct((2, *images.shape[1:]), np.float32)
        maps: Any = jax.eval_shape(self.backbone.init_with_output, jax.random.key(0), x)[0]
        return maps[POOLED].shape[-1]

    # Networks that the study can train.

    @property
    def initial(self) -> Network | None:
        """Where a pretraining begins: the start weights, or None for random ones."""
        return Network(given=START) if START in self.given else None

    @property
    def baselines(self) -> tuple[Network, ...]:
        """The networks without pretraining: from scratch, and the start weights if any."""
        return (SCRATCH, self.initial) if self.initial else (SCRATCH,)

    def single(self, name: str, share: float = 1.0) -> Network:
        """One task's network, or a teacher's."""
        if name in self.given:
            return Network(given=name)
        return Network(tasks=(name,), start=self.initial, share=share)

    def pool(self, names: Sequence[str]) -> Network:
        """The network of several members, mixed as `PretrainSettings.mixing` says.

        Distillation goes on from the first task's network, a joint pool divides a batch beginning
        with it, and a budget of "compute" is its. The order does not matter for anything else.
        """
        if len(names) == 1:
            return self.single(names[0])
        mixing = self.pretrain.mixing
        # A teacher has neither inputs nor a loss.
        first = next(name for name in names if name in self.tasks)
        rest = sorted({*names} - {first})
        if mixing != "distil":
            counts = mixing == "joint" or self.pretrain.budget == "compute"
            ordered = (first, *rest) if counts else sorted(names)
            return Network(tasks=tuple(ordered), objective=mixing, start=self.initial)
        others = [self.single(name) for name in rest]
        goes_on = self.distil.start == "single"
        return Network(
            tasks=(first,),
            objective="distil",
            start=self.single(first) if goes_on else self.initial,
            teachers=tuple(others if goes_on else [self.single(first), *others]),
        )

    def extended(self, network: Network, name: str) -> Network:
        """A pretrained network that goes on with one more task or teacher."""
        if self.pretrain.mixing != "distil":
            tasks = (*network.tasks, name)
            return Network(tasks=tasks, objective=self.pretrain.mixing, start=network)
        added = self.single(name)
        if self.distil.start == "single":
            teachers = (*network.teachers, added)
            return Network(
                tasks=network.tasks, objective="distil", start=network, teachers=teachers
            )
        teachers = (network, added)
        return Network(
            tasks=network.tasks, objective="distil", start=self.initial, teachers=teachers
        )

    def continued(self, network: Network) -> Network:
        """A pretrained network that goes on with what it was trained on last."""
        return network.replace(start=network, share=1.0)

    def taught_by(self, networks: Sequence[Network]) -> Network:
        """The student of some networks; it begins as the first of them."""
        return Network(objective="student", teachers=tuple(networks))

    def repeats(self, network: Network) -> list[Network]:
        """The pretrainings of a network, see `PretrainSettings.seeds`; itself without one."""
        trained = any(each.trained for each in network.history)
        return [network.repeated(seed) for seed in range(self.pretrain.seeds if trained else 1)]

    @property
    def student_steps(self) -> int:
        """How long a student is trained; 0 without one."""
        return round(self.student.share * self.pretrain.training.steps)

    # What stages are made of.

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that affect every stage that trains or runs a network."""
        fixed = fixed_elsewhere(self.backbone_settings)
        return {"backbone": {**self.backbone_settings, **fixed}, "seed": self.seed}

    def stage(
        self,
        kind: str,
        network: Network,
        settings: dict[str, Any],
        parents: Sequence[StageSpec] = (),
        roots: Sequence[Any] = (),
    ) -> StageSpec:
        """A stage of this study; the identity and the backbone's code are added."""
        return StageSpec(
            kind=kind,
            network=network,
            backbone=self.name,
            settings={**self.identity, **settings},
            parents=tuple(parents),
            roots=(*roots, type(self.backbone)),
        )

    @functools.cached_property
    def inputs(self) -> dict[str, str]:
        """The identities of the images that stages depend on."""
        data = self.dataset
        return {
            "unlabeled": data.fingerprint(data.unlabeled),
            "held_out": data.fingerprint(data.test),
            "labelled": data.fingerprint(*data.labelled_sets, labelled=True),
            "labelled and test": data.fingerprint(*data.labelled_sets, data.test, labelled=True),
        }

    @property
    def data_digest(self) -> str:
        """The identity of all images and labels of the run."""
        return digest([self.inputs["unlabeled"], self.inputs["labelled and test"]])

    @functools.cached_property
    def plain_images(self) -> PlainImages:
        """Fixed images without augmentation: a sample of the unlabeled and of the test images.

        Without test images, "held_out" is the sample of the unlabeled images.
        """

        def sample(subset: str, rows: np.ndarray) -> np.ndarray:
            rng = np.random.default_rng(derived(self.seed, "plain images", subset))
            return rng.permutation(rows)[: self.similarity.n]

        test = self.dataset.test
        unlabeled = sample("unlabeled", self.dataset.unlabeled)
        # No pretraining has seen the test images. Their labels are not used.
        return PlainImages(
            backbone=self.backbone,
            images=self.images,
            rows={
                "unlabeled": np.sort(unlabeled),
                "held_out": sample("held_out", test) if len(test) else unlabeled,
                "labelled": np.concatenate([*self.dataset.labelled_sets, np.empty(0, np.int64)]),
            },
            intensity=self.dataset.intensity,
            layer=self.similarity.layer,
            batch_size=self.eval_batch_size,
            reestimate=self.similarity.reestimate_bn,
        )

    # What people read.

    def label(self, network: Network) -> str:
        """What this study calls a network in logs, `vgg16/src+rotation`."""
        return f"{self.prefix}/{network.label}" if self.prefix else network.label

    def words(self, network: Network) -> str:
        """What progress lines, plans and messages call it."""
        title = network.title()
        if not network.members or network.objective == "student":  # no task's name begins it
            title = title[:1].lower() + title[1:]
        return f"{self.prefix}/{title}" if self.prefix else title

    def recording(self, spec: StageSpec, folder: Path) -> contextlib.AbstractContextManager[Any]:
        """The log of a stage, see `metrics_log.recording`."""
        return recording(
            folder,
            stage=folder.name,
            kind=spec.kind,
            label=self.label(spec.network),
            log_to=self.log_to,
        )

    def members(self) -> Pool:
        """The names of the tasks and of the teachers, of which pools are formed."""
        return (*self.tasks, *(name for name in self.given if name != START))
