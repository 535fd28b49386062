"""What the stages of a study share: the images, the network, and where results go."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from assl_jax.data import Dataset
from assl_jax.evaluation.finite import of_network
from assl_jax.evaluation.plain import PlainImages
from assl_jax.files import digest
from assl_jax.models import fixed_elsewhere
from assl_jax.records import StageResult
from assl_jax.seeds import derived
from assl_jax.strategies.network import START, Network
from assl_jax.strategies.settings import DistilSettings, SimilaritySettings
from assl_jax.strategies.stages import Stage, StageCache
from assl_jax.tasks import ProxyTask
from assl_jax.training import trackers
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
class Setup:
    """One data set, one backbone, a set of tasks, and the cache of stages.

    Attributes:
      dataset: images and splits.
      images: the data set's images, on the devices or on the host.
      backbone, backbone_settings: the network, and the plain values that determine it.
      tasks: by name.
      similarity: which plain images are looked at, and how.
      seed: the random seed.
      stages: the cache.
      prefix: stands before every label, to tell several backbones apart.
      eval_batch_size: images in a batch in evaluation mode.
      checkpoint_every, log_every: steps.
      start: the weights that every pretraining starts from; None draws random ones.
      teachers: by name. A teacher is a member of a pool as a task is, but its network is given.
      log_to: where the curves of a stage are shown, see `training.trackers.TRACKERS`.
      distil: how a pool learns from single networks.
    """

    dataset: Dataset
    images: Feed
    backbone: nn.Module
    backbone_settings: Mapping[str, Any]
    tasks: Mapping[str, ProxyTask]
    similarity: SimilaritySettings
    seed: int
    stages: StageCache
    prefix: str = ""
    eval_batch_size: int = 256
    checkpoint_every: int = 1000
    log_every: int = 50
    start: Given | None = None
    teachers: Mapping[str, Given] = dataclasses.field(default_factory=dict)
    log_to: tuple[str, ...] = trackers.DEFAULT
    distil: DistilSettings = DistilSettings()

    def given(self, network: Network) -> Given | None:
        """The weights of a network that is not trained; None for one that is."""
        return {START.label: self.start, **self.teachers}.get(network.label)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that affect every stage that trains or runs a network."""
        fixed = fixed_elsewhere(self.backbone_settings)
        return {"backbone": {**self.backbone_settings, **fixed}, "seed": self.seed}

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

    @property
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

    def label(self, network: Network) -> str:
        """What this study calls a network, `vgg16/rotation+src`."""
        return self._own(network.label)

    def words(self, network: Network) -> str:
        """The label for progress lines, plans and messages."""
        return self._own(network.words)

    def _own(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def stage(
        self,
        kind: str,
        network: Network,
        settings: dict[str, Any],
        compute: Callable[[Path], StageResult],
        *,
        code: Sequence[Any],
        parents: Sequence[Stage] = (),
    ) -> Stage:
        """See `StageCache.run`; the backbone's code is added.

        Raises:
          InputError: also a network whose features are not finite.
        """
        with of_network(self.words(network)):
            return self.stages.run(
                kind,
                network.label,
                settings,
                compute,
                code=(*code, type(self.backbone)),
                parents=parents,
                shown=self.label(network),
            )

    def recording(
        self, folder: Path, kind: str, network: Network
    ) -> contextlib.AbstractContextManager[Any]:
        """See `metrics_log.recording`: the log of a stage."""
        label = self.label(network)
        return recording(folder, stage=folder.name, kind=kind, label=label, log_to=self.log_to)
