"""Pretraining stages: a backbone trained on a pool of proxy tasks, once or twice."""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from assl_jax.errors import InputError, require
from assl_jax.evaluation.export import export_backbone
from assl_jax.files import atomic_folder, write_json
from assl_jax.models.base import POOLED
from assl_jax.records import BACKBONE_FOLDER, Pool, Pretrained
from assl_jax.seeds import derived
from assl_jax.strategies.mixing import Mixing
from assl_jax.strategies.network import Network
from assl_jax.strategies.settings import PretrainSettings
from assl_jax.strategies.setup import Given, Setup
from assl_jax.strategies.stages import Stage, Unfinished
from assl_jax.tasks import Average, ProxyTask
from assl_jax.tasks.distillation import Teacher
from assl_jax.training.checkpoint import CHECKPOINTS, DAMAGED, Checkpoints, load_tree
from assl_jax.training.joint import JointSettings
from assl_jax.training.loop import Logging, Training, fit
from assl_jax.training.metrics_log import MetricsLog
from assl_jax.training.penalty import Penalty
from assl_jax.training.processes import is_primary
from assl_jax.training.sharding import replicate
from assl_jax.training.state import TrainState, init_state

OBSERVATIONS = 10  # of a pretraining, spread over its steps


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """Pretrains the networks of a study.

    Attributes:
      setup: objects and settings shared by all stages.
      settings: how long and how.
      rungs: shares of a pretraining after which a search looks at it, in rising order.
    """

    setup: Setup
    settings: PretrainSettings
    rungs: tuple[float, ...] = ()

    @property
    def mixing(self) -> Mixing:
        return Mixing(self.setup, self.settings)

    def repeats(self, network: Network) -> list[Network]:
        """The pretrainings of a network, see `PretrainSettings.seeds`; itself without one."""
        trained = network.pool and not self.setup.given(network)
        seeds = range(self.settings.seeds if trained else 1)
        return [dataclasses.replace(network, seed=seed) for seed in seeds]

    def run(self, network: Network) -> Stage:
        """Train a backbone on the pool's tasks; its weights lie in the stage's `backbone/`.

        The stage depends only on the unlabeled images. Labels and test images do not affect it;
        its log shows how good the features of some of them are.
        """
        if given := self.setup.given(network):
            return self._given(network, given)
        setup, second, own = self.setup, network.second, self.setup.distil
        joint, distilled = (self.mixing.is_mixed(network, mixing) for mixing in ("joint", "distil"))
        # The first task of a joint pool has a weight of its own; elsewhere the order is irrelevant.
        ordered = self.mixing.ordered(network)
        names = ordered if joint else sorted(network.pool)
        tasks = {name: setup.tasks[name] for name in names if name in setup.tasks}
        training = self.training_of(network)
        require(
            not (second and distilled),
            "self_assl cannot train a pool twice with pretrain.mixing=distil; use alternate",
        )
        parents = [self.run(parent) for parent in self.mixing.parents(network)]
        rung = self._rung_before(network)
        settings: dict[str, Any] = {
            **setup.identity,
            **self._begun_with(setup.start),
            "tasks": {name: dataclasses.asdict(task) for name, task in tasks.items()},
            "training": dataclasses.asdict(training),
        }
        if network.seed:
            settings["repeat"] = network.seed
        until = self.steps_of(network)
        if until < training.steps:
            settings["until"] = until
        if second:
            penalty = second.penalty
            settings["penalty"] = dataclasses.asdict(penalty) if penalty.weight else None
            settings["init_from"] = second.init_from
        if self.mixing.is_mixed(network, "alternate"):
            settings["moments"] = self.settings.moments
        if joint:
            settings["joint"] = {"first": ordered[0]}
        if distilled:
            settings["distil"] = {"start": own.start, "weight": own.weight, "first": ordered[0]}

        def compute(folder: Path) -> Pretrained:
            self._save_label_tables(folder, tasks)
            if rung and is_primary() and not (folder / CHECKPOINTS).exists():
                self._go_on(folder, network, rung)
            if distilled:
                state = self._distil(folder, network, training, parents)
            else:
                parent = parents[0] if second else None
                state = self._train(folder, network, tasks, training, parent)
            self._keep(folder, state.variables, tuple(names))
            return Pretrained(flops=until * self.mixing.flops_of_a_step(network))

        return setup.stage(
            "pretrain",
            network,
            settings,
            compute,
            code=(Pretraining, *map(type, tasks.values())),
            parents=parents,
        )

    def _given(self, network: Network, given: Given) -> Stage:
        """Given weights themselves, without a pretraining: the start weights, or a teacher."""

        def compute(folder: Path) -> Pretrained:
            self._keep(folder, self._on_devices(given), network.pool)
            return Pretrained(flops=0.0)

        kind = "teacher" if network.pool else "start"
        settings = {**self.setup.identity, **self._begun_with(given)}
        return self.setup.stage(kind, network, settings, compute, code=[Pretraining])

    def _begun_with(self, given: Given | None) -> dict[str, Any]:
        """The settings of what a stage begins with, and of the sample for running statistics."""
        setup = self.setup
        return {
            "images": setup.inputs["unlabeled"],
            "reestimate_bn": setup.similarity.reestimate_bn
            and [setup.similarity.n, setup.eval_batch_size],
            **({"init": given.digest} if given else {}),
        }

    def _on_devices(self, given: Given) -> dict[str, Any]:
        return replicate(dict(given.variables), self.setup.images.mesh)

    def _keep(self, folder: Path, variables: dict[str, Any], pool: Pool) -> None:
        """Write a stage's backbone, with running statistics of plain images."""
        fitted = self.setup.plain_images.fit(variables)
        if is_primary():
            export_backbone(
                folder / BACKBONE_FOLDER,
                fitted,
                settings=dict(self.setup.backbone_settings),
                intensity=self.setup.dataset.intensity,
                pool=pool,
            )

    def cost(self, network: Network) -> float | None:
        """Floating-point operations of a pretraining and of all that it builds on.

        0 without a pretraining, and for a teacher, whose own is not counted. None if a stage does
        not know its number.
        """
        if not network.pool:
            return 0.0
        own = self.run(network).record.result
        assert isinstance(own, Pretrained)
        return _total([own.flops, *map(self.cost, self.mixing.parents(network))])

    def _cost_with_parts(self, pool: Network) -> float | None:
        """The `cost` of a pool and of the single networks of its tasks, which a search needs."""
        parts = [] if self.mixing.parents(pool) else [Network((name,)) for name in pool.pool]
        return _total([self.cost(network) for network in (pool, *parts)])

    def training_of(self, network: Network) -> Training:
        """How long a network is trained, see `PretrainSettings.budget` and `Network.as_long_as`."""
        training, budget = self.settings.training, self.settings.budget
        steps, tasks = training.steps, len(network.pool)
        if tasks > 1 and budget == "per_task":
            steps *= tasks
        flops = None
        if tasks > 1 and budget == "compute":
            first = Network(self.mixing.ordered(network)[:1])
            flops = steps * self.mixing.flops_of_a_step(first)
        if network.as_long_as:
            flops = self._cost_with_parts(Network(network.as_long_as))
        if flops:
            steps = max(1, round(flops / self.mixing.flops_of_a_step(network)))
        return dataclasses.replace(training, steps=steps)

    def steps_of(self, network: Network) -> int:
        """The step that a pretraining ends with: at a rung, an earlier one than the last."""
        return max(1, round(network.share * self.training_of(network).steps))

    def _rung_before(self, network: Network) -> Stage | None:
        """The last rung that a network has reached, where its pretraining goes on; or None."""
        if len(network.pool) == 1 and network.variant in ("plain", "part"):
            for share in reversed(self.rungs):
                if share < network.share:
                    with contextlib.suppress(Unfinished), self.setup.stages.without_computing():
                        return self.run(dataclasses.replace(network, share=share))
        return None

    def _go_on(self, folder: Path, network: Network, rung: Stage) -> None:
        """Copy the log and the checkpoint of a rung, as if this training had not stopped there."""
        with self.setup.recording(folder, "pretrain", network) as record:
            for old in MetricsLog(rung.folder).read():
                record(task=old.task, step=old.step, values=old.values, steps=old.steps)
        with atomic_folder(folder / CHECKPOINTS) as copy:
            shutil.copytree(rung.folder / CHECKPOINTS, copy, dirs_exist_ok=True)

    def load(self, stage: Stage) -> dict[str, Any]:
        """The variables of a pretraining stage's backbone, replicated on the devices."""
        return replicate(
            load_tree(stage.folder / BACKBONE_FOLDER / "variables"), self.setup.images.mesh
        )

    def untrained(self) -> dict[str, Any]:
        """Random weights, with running statistics of plain images."""
        tasks = dict([next(iter(self.setup.tasks.items()))])
        key = jax.random.key(derived(self.setup.seed, "untrained"))
        fresh = self.fresh(key, tasks, self.settings.training, random=True).variables
        return self.setup.plain_images.fit(replicate(fresh, self.setup.images.mesh))

    def _train(
        self,
        folder: Path,
        network: Network,
        tasks: Mapping[str, ProxyTask],
        training: Training,
        parent: Stage | None,
    ) -> TrainState:
        second = network.second
        penalty = second.penalty if second else None
        state = self.fresh(jax.random.key(self._seed(network)), tasks, training, penalty)
        frozen = None
        if second and parent:
            # The frozen network keeps the running statistics of the proxy tasks' inputs, because f'
            # is trained on such inputs.
            trained = self._last_state(parent, tasks, training)
            frozen = trained.variables
            if second.init_from == "f_p":
                state = state._replace(
                    params=trained.params,
                    batch_stats=trained.batch_stats,
                    average=trained.average,
                )
        observe = self._observer(parent) if parent else self._watch()
        return self._fit(folder, network, state, tasks, training, frozen, penalty, observe)

    def _distil(
        self, folder: Path, network: Network, training: Training, singles: Sequence[Stage]
    ) -> TrainState:
        """Train on the features of the single networks, see `DistilSettings`."""
        setup, goes_on = self.setup, self.setup.distil.start == "single"
        first = setup.tasks[self.mixing.ordered(network)[0]]
        teachers = [self._teacher(stage) for stage in (singles[1:] if goes_on else singles)]
        task = self.mixing.distillation(network, [len(teacher.mean) for teacher in teachers])
        tasks: dict[str, ProxyTask] = {task.name: task}
        state = self.fresh(jax.random.key(self._seed(network)), tasks, training)
        if goes_on:
            trained = self._last_state(singles[0], {first.name: first}, self.settings.training)
            heads = {
                task.name: state.params["heads"][task.name]
                | {"own": trained.params["heads"][first.name]}
            }
            params = {"backbone": trained.params["backbone"], "heads": heads}
            old = trained.average.get(first.name)
            own = old and Average(old.variables, heads[task.name] | {"own": old.head})
            state = state._replace(
                params=params,
                batch_stats=trained.batch_stats,
                average={task.name: own} if own else {},
            )
        return self._fit(
            folder, network, state, tasks, training, tuple(teachers), observe=self._watch()
        )

    def _teacher(self, stage: Stage) -> Teacher:
        """A finished network, with the statistics of its pooled features of plain images."""
        variables = self.load(stage)
        plain = dataclasses.replace(self.setup.plain_images, layer=POOLED)
        x = plain.features(variables, "unlabeled")
        return Teacher(variables, x.mean(0), x.std(0) + 1e-6)

    def _fit(
        self,
        folder: Path,
        network: Network,
        state: TrainState,
        tasks: Mapping[str, ProxyTask],
        training: Training,
        frozen: Any = None,
        penalty: Penalty | None = None,
        observe: Callable[[TrainState], dict[str, float]] | None = None,
    ) -> TrainState:
        """Train `state` on the unlabeled images, with checkpoints and a log in `folder`."""
        setup = self.setup
        checkpoints = Checkpoints(folder / CHECKPOINTS, setup.checkpoint_every)
        with setup.recording(folder, "pretrain", network) as record:
            state = fit(
                state,
                backbone=setup.backbone,
                tasks=tasks,
                feed=setup.images,
                rows=setup.dataset.unlabeled,
                training=training,
                until=self.steps_of(network),
                seed=self._seed(network),
                penalty=penalty,
                frozen=frozen,
                checkpoints=checkpoints,
                logging=Logging(
                    title=f"pretrain {setup.words(network)}",
                    every=setup.log_every,
                    record=record,
                    observe=observe,
                    observe_every=max(1, training.steps // OBSERVATIONS),
                ),
                joint=JointSettings() if self.mixing.is_mixed(network, "joint") else None,
            )
        checkpoints.close(finished=True)
        return state

    def _seed(self, network: Network) -> int:
        """The same for all first trainings of a study, and another one for all later ones.

        Every repetition has its own.
        """
        later = network.second or self.mixing.is_mixed(network, "distil")
        return derived(self.setup.seed, "pretraining", 2 if later else 1, network.seed)

    def _save_label_tables(self, folder: Path, tasks: Mapping[str, ProxyTask]) -> None:
        """Save the routes and permutations that the class labels refer to."""
        rank = len(self.setup.dataset.space)
        tables = {name: task.label_table(rank) for name, task in tasks.items()}
        if is_primary():
            write_json(
                folder / "labels.json",
                {name: table.tolist() for name, table in tables.items() if table is not None},
            )

    def fresh(
        self,
        key: jax.Array,
        tasks: Mapping[str, ProxyTask],
        training: Training,
        penalty: Penalty | None = None,
        *,
        random: bool = False,
    ) -> TrainState:
        """A state before its first step, with the start weights unless they must be `random`."""
        start = None if random else self.setup.start
        return init_state(
            key,
            self.setup.backbone,
            list(tasks.values()),
            training.optimiser,
            self.setup.images.arrays,
            self._on_devices(start) if start else None,
            penalty=penalty,
            moments_per_task=self.settings.moments == "per_task"
            and len(tasks) > 1
            and self.settings.mixing == "alternate",
        )

    def _last_state(
        self, stage: Stage, tasks: Mapping[str, ProxyTask], training: Training
    ) -> TrainState:
        """The state at the end of a finished pretraining without a penalty."""
        checkpoints = Checkpoints(stage.folder / CHECKPOINTS)
        try:
            like = self.fresh(jax.random.key(0), tasks, training)
            return checkpoints.restore(like, self.setup.images.mesh)
        except DAMAGED as error:
            raise InputError(
                f"the checkpoint of {stage.folder} does not fit this version; delete that folder, "
                "and the run computes it again"
            ) from error
        finally:
            checkpoints.close()

    def _watch(self) -> Callable[[TrainState], dict[str, float]]:
        dataset = self.setup.dataset
        return self.setup.plain_images.watch(dataset.labels, dataset.groups, dataset.num_classes)

    def _observer(self, parent: Stage) -> Callable[[TrainState], dict[str, float]]:
        return self.setup.plain_images.observer(
            self.load(parent), self.untrained(), self.setup.similarity.estimator
        )


def _total(each: Sequence[float | None]) -> float | None:
    """The sum; None if a number is unknown."""
    known = [flops for flops in each if flops is not None]
    return sum(known) if len(known) == len(each) else None
