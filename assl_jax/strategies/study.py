"""A study: everything that strategies do with one data set and one backbone."""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgspec

from assl_jax.data.memory import afford
from assl_jax.errors import lookup, require
from assl_jax.evaluation.uncertainty import Gain
from assl_jax.models.contract import check_backbone
from assl_jax.models.heads import flatten_views
from assl_jax.objectives.penalty import Penalty
from assl_jax.records import Estimate, Evaluation, NetworkRecord
from assl_jax.strategies.comparing import Comparing
from assl_jax.strategies.evaluating import Evaluating
from assl_jax.strategies.finetuning import fold_runs
from assl_jax.strategies.network import SCRATCH, START, Network
from assl_jax.strategies.pretraining import Pretraining
from assl_jax.strategies.settings import PretrainSettings, TargetSettings
from assl_jax.strategies.setup import Setup
from assl_jax.strategies.stages import Busy


class Study:
    """Pretrains, evaluates and compares networks; finished stages are read, not repeated.

    Attributes:
      setup: objects and settings shared by all stages.
      pretraining, evaluating, comparing: what can be done with a network.
      networks: those that were evaluated, by label.
    """

    def __init__(
        self,
        setup: Setup,
        pretrain: PretrainSettings,
        target: TargetSettings,
        metric: str = "accuracy",
        selects: bool = True,
        rungs: tuple[float, ...] = (),
    ) -> None:
        """Compose the parts.

        Args:
          setup: objects and settings shared by all stages.
          pretrain, target: settings.
          metric: what selection looks at, one of `METRICS`.
          selects: see `Evaluating`.
          rungs: see `Pretraining`.
        """
        self.setup = setup
        self.pretraining = Pretraining(setup, pretrain, rungs)
        self.evaluating = Evaluating(setup, target, metric, self.pretraining, selects)
        self.comparing = Comparing(setup, self.pretraining)
        self.networks: dict[str, Network] = {}

    def check(self, penalty: Penalty, *, pretrains: bool = True) -> None:
        """Check for errors that would otherwise appear late, before anything is trained or written.

        Args:
          penalty: of Self-ASSL.
          pretrains: whether a network is pretrained.

        Raises:
          InputError: sizes, folds, devices or layers that do not fit the data.
        """
        setup, target = self.setup, self.evaluating.settings
        rows, images, mesh = len(setup.dataset.unlabeled), setup.dataset.images, setup.images.mesh
        training = self.pretraining.settings.training
        require(
            not pretrains or training.batch_size <= rows,
            f"pretrain.batch_size={training.batch_size} is larger than the data ({rows} unlabeled "
            "images); use a smaller one",
        )
        training.check(mesh, "pretrain.")
        require(
            self.pretraining.settings.mixing != "joint"
            or training.batch_size >= 2 * len(setup.tasks),
            f"pretrain.batch_size={training.batch_size} must be at least {2 * len(setup.tasks)}: "
            f"pretrain.mixing=joint divides a batch among up to {len(setup.tasks)} tasks",
        )
        target.training.check(mesh, "target.")
        side = min(setup.dataset.space)
        require(
            target.shift < side,
            f"target.shift={target.shift} must be below the shortest side of the images, {side}",
        )
        batches = {
            "target.batch_size": target.training.batch_size,
            "eval_batch_size": setup.eval_batch_size,
        }
        image_bytes = 4.0 * math.prod(images.shape[1:])
        for name, size in batches.items():
            require(size >= 1, f"{name}={size} must be at least 1")
            afford(size * image_bytes, f"{name}={size}", "lower it")
        require(rows >= 4, f"similarity needs at least 4 unlabeled images; the data have {rows}")
        example = jax.ShapeDtypeStruct((2, *images.shape[1:]), images.dtype)
        inputs: list[Any] = [jax.ShapeDtypeStruct(example.shape, jnp.float32)]
        for task in setup.tasks.values() if pretrains else ():
            task.check_rank(len(setup.dataset.space))
            batch = jax.eval_shape(task.make_batch, jax.random.key(0), example)
            inputs.append(jax.eval_shape(flatten_views, batch.inputs))
            task.label_table(len(setup.dataset.space))
        smallest = min(inputs, key=lambda x: math.prod(x.shape[1:]))
        maps = check_backbone(setup.backbone, [inputs[0], smallest])
        lookup(maps, setup.similarity.layer, "similarity.layer")
        lookup(maps, penalty.layer, "self_assl.layer")
        fold_runs(setup.dataset, target, setup.seed)

    def evaluate(self, network: Network) -> Evaluation:
        """Fine-tune and test a network, after its pretraining."""
        self.networks[network.label] = network
        return self.evaluating.run(network)

    @property
    def baselines(self) -> tuple[Network, ...]:
        """The networks without pretraining: from scratch, and with the start weights if any."""
        return (SCRATCH, START) if self.setup.start else (SCRATCH,)

    def evaluate_start(self) -> Evaluation | msgspec.UnsetType:
        """The start weights without pretraining; unset without such weights."""
        return self.evaluate(START) if self.setup.start else msgspec.UNSET

    def evaluate_all(
        self, networks: Sequence[Network], on_folds: Sequence[tuple[Network, int]] = ()
    ) -> None:
        """Evaluate independent networks, together with other processes of the same study.

        When this function returns, all of them are finished; see `share` for the order.

        Args:
          networks: they are pretrained, fine-tuned and cross-validated.
          on_folds: networks, each with the number of a division into folds on which it is
            cross-validated too, because a `gain` will compare it there.
        """
        work = [stage for network in networks for stage in self.evaluating.stages(network)]
        for network, repeat in on_folds:
            work += self.evaluating.on_folds(network, repeat)
        self.share(work)
        for network in networks:
            self.evaluate(network)

    def select_all(self, networks: Sequence[Network]) -> list[Estimate]:
        """The metric of the selection of each network, in cross-validation; as `evaluate_all`."""
        stages = self.evaluating.stages
        self.share([stage for network in networks for stage in stages(network, tested=False)])
        return [self.selection(network) for network in networks]

    def pretrain_all(self, networks: Sequence[Network]) -> None:
        """Pretrain independent networks; as `evaluate_all`."""
        run, parents = self.pretraining.run, self.pretraining.mixing.parents
        every = [each for network in networks for each in (*parents(network), network)]
        self.share([functools.partial(run, network) for network in every])

    def selection(self, network: Network, repeats: Sequence[int] = (0,)) -> Estimate:
        """The metric of the selection over the folds, see `Evaluating.selection`."""
        return self.evaluating.selection(network, repeats)

    def gain(
        self,
        before: Network,
        after: Network,
        *,
        on_test: bool = False,
        repeats: Sequence[int] = (0,),
    ) -> Gain:
        """How much better `after` is than `before`, see `Evaluating.gain`; as `evaluate_all`."""
        if not on_test:
            on_folds = self.evaluating.on_folds
            both = [(each, repeat) for each in (before, after) for repeat in repeats]
            self.share([stage for each, repeat in both for stage in on_folds(each, repeat)])
        return self.evaluating.gain(before, after, on_test=on_test, repeats=repeats)

    def share(self, work: Sequence[Callable[[], Any]]) -> None:
        """Do independent pieces of work, each of which computes a stage.

        A single process does them in the given order. A piece that another process is working on is
        tried again later. If all that is left is such work, this process waits until one is free.
        """
        left = list(work)
        while left:
            busy = {piece: folder for piece in left if (folder := self._try(piece))}
            if len(busy) == len(left):
                self.setup.stages.wait(next(iter(busy.values())))
            left = list(busy)

    def record(self) -> tuple[NetworkRecord, ...]:
        """The networks that were evaluated, with the stages that hold them."""
        return tuple(map(self._record, self.networks.values()))

    def _record(self, network: Network) -> NetworkRecord:
        return NetworkRecord(
            label=self.setup.label(network),
            pool=network.pool,
            variant=network.variant,
            backbone=self.setup.backbone_settings["name"],
            pretrain=self.pretraining.run(network).folder.name if network.has_weights else None,
            finetune=self.evaluating.finetune(network).folder.name,
            flops=self.pretraining.cost(network),
            calibration=self.evaluating.calibration(network),
        )

    def _try(self, work: Callable[[], Any]) -> Path | None:
        """Do it, unless another process works on one of its stages; the folder of that stage."""
        try:
            with self.setup.stages.without_waiting():
                work()
        except Busy as busy:
            return busy.folder
        return None
