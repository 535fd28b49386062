"""What finished stages say of networks. Looking up trains nothing."""

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec
import numpy as np
from jaxtyping import Float

from assl_jax.errors import require
from assl_jax.evaluation.calibration import calibrate
from assl_jax.evaluation.scores import METRICS, on_test_set, scores
from assl_jax.evaluation.spectrum import effective_rank
from assl_jax.evaluation.uncertainty import (
    Gain,
    Resampled,
    estimate,
    joint_scores,
    paired_gain,
    resampled,
    summarise,
)
from assl_jax.lcka import lcka_matrix
from assl_jax.records import (
    SCRATCH,
    Calibration,
    Estimate,
    Evaluation,
    Network,
    NetworkRecord,
    Pretrained,
    Probe,
)
from assl_jax.strategies import comparing, pretraining
from assl_jax.strategies.finetuning import (
    FOR_RATES,
    cross_validate,
    finetune,
    on_folds,
    predictions,
    runs_of,
    student_flops,
)
from assl_jax.strategies.scheduler import Stages
from assl_jax.strategies.selection import Posterior, posterior
from assl_jax.strategies.stage import Stage, StageSpec, Step
from assl_jax.strategies.study import Study

ONE: Mapping[Network, int] = MappingProxyType({})  # division into folds for each network


class Evidence:
    """The scores of a study's networks, and the stages that must be finished for them.

    Attributes:
      study: the study.
      stages: its finished stages.
      networks: those that were evaluated, in order.
    """

    def __init__(self, study: Study, stages: Stages) -> None:
        self.study, self.stages = study, stages
        self.networks: dict[Network, None] = {}
        # The bootstrap of a large test set takes seconds, and rates ask for the same folds.
        self._summary = functools.cache(self._summarise)
        self._fold_scores = functools.cache(self._over_folds)
        self._measured = functools.cache(self._measure)
        self._posterior = functools.cache(self._believe)  # several decisions ask for the same

    # The stages that a plan asks for.

    def evaluated(
        self, networks: Sequence[Network], divisions: Sequence[int] = (), *, tested: bool = True
    ) -> Step:
        """All that `evaluate`, or `selection` if not `tested`, reads of some networks.

        Args:
          networks: they are pretrained, fine-tuned and cross-validated.
          divisions: further divisions into folds on which they are cross-validated.
          tested: whether they are tested.
        """
        if self.study.target.chooses_rate:
            yield [spec for network in networks for spec in self._rates(network)]
        yield [s for network in networks for s in self.specs(network, divisions, tested=tested)]
        if tested:
            self.networks |= dict.fromkeys(networks)

    def specs(
        self, network: Network, divisions: Sequence[int] = (), *, tested: bool = True
    ) -> list[StageSpec]:
        """The stages of `evaluated`; with any learning rate while none is chosen yet."""
        study, target = self.study, self.study.target
        repeats, found = study.repeats(network), self._rates(network)
        known = all(self.stages.find(spec) for spec in found)
        rate = self.learning_rate(network) if known else target.rates[0]
        found += [finetune(study, repeat, rate) for repeat in repeats if tested]
        selects = target.folds and (study.cross_validated or not tested)
        for division in dict.fromkeys([*([0] if selects else []), *divisions]):
            found += [cross_validate(study, repeat, rate, division) for repeat in repeats]
        return found

    def _rates(self, network: Network) -> list[StageSpec]:
        """The cross-validations that choose the learning rate; none where it is given."""
        study, network = self.study, _judged_with(network)
        return [
            cross_validate(study, repeat, rate, FOR_RATES, "rate")
            for rate in (study.target.rates if study.target.chooses_rate else ())
            for repeat in study.repeats(network)
        ]

    def compared(self, networks: Sequence[Network], subset: str = "unlabeled") -> Step:
        """All that `similarities` and `effective_rank` read."""
        yield [comparing.features(self.study, network, subset) for network in networks]

    def complemented(self, pool: Network, others: Sequence[Network]) -> Step:
        """All that `complement` of each of the others reads."""
        probes = [probe for other in others for probe in self._probes(pool, other)]
        yield [comparing.probe(self.study, probed) for probed in probes]

    # What the finished ones say.

    def evaluate(self, network: Network) -> Evaluation:
        """Test metrics, the chosen learning rate, and the metric of selection over the folds.

        They are those of all pretrainings of the network.
        """
        found, target = self._summary(network), self.study.target
        if target.chooses_rate:
            found = found.replace(learning_rate=self.learning_rate(network))
        if not (self.study.cross_validated and target.folds):
            return found
        return found.replace(selection=self.selection(network))

    def start(self) -> Evaluation | msgspec.UnsetType:
        """The start weights without pretraining; unset without such weights."""
        return self.evaluate(self.study.initial) if self.study.initial else msgspec.UNSET

    def _summarise(self, network: Network) -> Evaluation:
        dataset, pretrainings = self.study.dataset, len(self.study.repeats(network))
        rows, found = dataset.test, self.probabilities(network)
        return summarise(
            dataset.labels[rows], found, dataset.groups[rows], pretrainings=pretrainings
        )

    def selection(self, network: Network, divisions: Sequence[int] = (0,)) -> Estimate:
        """The metric of selection over the folds; the test set is not used.

        Args:
          network: the network.
          divisions: numbers of the divisions into folds, see `cross_validate`.
        """
        repeats = self.study.repeats(network)
        stages = [self._on_folds(each, division) for each in repeats for division in divisions]
        values = [value for stage in stages for value in self._fold_scores(stage.spec)]
        return estimate(values, pretrainings=len(repeats))

    def learning_rate(self, network: Network) -> float:
        """The learning rate of a network's fine-tunings, see `TargetSettings.learning_rates`.

        All pretrainings of the network have the same one.
        """
        study, rates = self.study, self.study.target.rates
        network = _judged_with(network)
        if not study.target.chooses_rate:
            return rates[0]

        def value(rate: float) -> float:
            specs = [
                cross_validate(study, each, rate, FOR_RATES, "rate")
                for each in study.repeats(network)
            ]
            return float(np.mean([self._fold_scores(spec) for spec in specs]))

        best = max if METRICS[study.metric].higher_is_better else min
        return best(rates, key=value)

    def calibration(self, network: Network) -> Calibration | None:
        """Fitted to the predictions of all folds and pretrainings; None without folds."""
        study, repeats = self.study, self.study.repeats(network)
        if not (study.cross_validated and study.target.folds):
            return None
        rows = np.concatenate([run.test for run in on_folds(study).values()])
        found = [p for each in repeats for p in predictions(self._on_folds(each))]
        labels = np.tile(study.dataset.labels[rows], len(repeats))
        return calibrate(labels, np.concatenate(found))

    def gain(self, before: Network, after: Network, division: int = 0) -> Gain:
        """How much better `after` is than `before` in the metric of the selection.

        Args:
          before, after: two networks.
          division: number of the division into folds, see `cross_validate`.
        """
        return paired_gain(self._measured(before, division), self._measured(after, division))

    @property
    def on_folds(self) -> bool:
        """Whether networks are compared in cross-validation, not on the test set."""
        return bool(self.study.cross_validated and self.study.target.folds)

    def posterior(
        self, networks: Sequence[Network], divisions: Mapping[Network, int] = ONE
    ) -> Posterior:
        """What the metric of the selection tells of some networks, a higher value being better.

        Args:
          networks: all of them together.
          divisions: on how many divisions into folds a network is cross-validated, if not on one.
        """
        return self._posterior(tuple((network, divisions.get(network, 1)) for network in networks))

    def _believe(self, known: tuple[tuple[Network, int], ...]) -> Posterior:
        """`posterior` of networks with their numbers of divisions."""
        return posterior(
            *joint_scores(
                [
                    {number: self._measured(network, number) for number in range(divisions)}
                    for network, divisions in known
                ]
            )
        )

    def _measure(self, network: Network, division: int) -> Resampled:
        """The metric of the selection on a division into folds, or without one on the test set."""
        dataset = self.study.dataset
        if self.on_folds:
            rows = np.sort(np.concatenate(dataset.labelled_sets))
            runs = self._out_of_fold(network, division)
        else:
            rows, runs = dataset.test, self.probabilities(network)
        return self._resampled(self.study.metric, network, rows, runs)

    def _resampled(
        self, metric: str, network: Network, rows: np.ndarray, runs: Sequence[np.ndarray]
    ) -> Resampled:
        dataset, pretrainings = self.study.dataset, len(self.study.repeats(network))
        return resampled(
            metric, dataset.labels[rows], runs, dataset.groups[rows], pretrainings=pretrainings
        )

    def over_scratch(self, network: Network) -> Estimate | None:
        """The test metric of `network` minus that of scratch, see `scores.on_test_set`.

        The repetitions are the fine-tunings. The 95 % interval is over the patients of the test
        set, paired by image, and over the pretrainings if there are several. None if the metric is
        undefined.
        """
        metric, dataset = on_test_set(self.study.metric), self.study.dataset
        rows, both = dataset.test, (SCRATCH, network)
        runs = [self.probabilities(each) for each in both]
        found = [[scores(dataset.labels[rows], p) for p in each] for each in runs]
        if any(metric not in run for each in found for run in each):
            return None
        old, new = (
            self._resampled(metric, each, rows, p) for each, p in zip(both, runs, strict=True)
        )
        gain, pretrainings = paired_gain(old, new), len(new.pretrainings)
        before, after = ([run[metric] for run in each] for each in found)
        # Without a pretraining there is nothing to repeat.
        each = [b - a for a, b in zip(before * pretrainings, after, strict=True)]
        return estimate(each, (gain.mean - gain.reach, gain.mean + gain.reach), pretrainings)

    def probabilities(self, network: Network) -> list[np.ndarray]:
        """The test-set probabilities `[n, k]` of each network fine-tuned on all labels.

        Those of one pretraining come after those of another.
        """
        stages = [self.finetuned(each) for each in self.study.repeats(network)]
        return [p for stage in stages for p in predictions(stage)]

    def finetuned(self, network: Network) -> Stage:
        """The stage of a network's fine-tunings on all labels."""
        return self.stages.get(
            finetune(self.study, network, self.learning_rate(network.repeated(0)))
        )

    def similarities(
        self, networks: Sequence[Network], subset: str = "unlabeled"
    ) -> Float[np.ndarray, "k k"]:
        """LCKA between the features of every two networks, see `comparing.features`."""
        stacked = [self.features(network, subset) for network in networks]
        return np.asarray(lcka_matrix(stacked, estimator=self.study.similarity.estimator))

    def effective_rank(self, network: Network, subset: str = "held_out") -> float:
        """The effective rank of a network's features."""
        return effective_rank(self.features(network, subset))

    def features(self, network: Network, subset: str) -> Float[np.ndarray, "n d"]:
        return comparing.read(self.stages.get(comparing.features(self.study, network, subset)))

    def complement(self, pool: Network, other: Network) -> float | None:
        """How much a second network's features add to what a probe reads from the better one.

        The smaller of the two probes' losses minus the loss of the probe on both, in nats; above 0
        if the features complement each other. If networks are pretrained more than once, a probe
        reads two pretrainings of the pool, or of the other network, side by side: more features
        alone are then no complement. None if nothing can be cross-validated.
        """
        results = [
            self.stages.get(comparing.probe(self.study, probed)).record.result
            for probed in self._probes(pool, other)
        ]
        losses = [result.loss for result in results if isinstance(result, Probe)]
        *apart, together = losses
        known = [loss for loss in apart if loss is not None]
        return None if together is None or len(known) < 2 else min(known) - together

    def _probes(self, pool: Network, other: Network) -> list[list[Network]]:
        """The networks of the probes of two networks apart, and of both together."""
        return [*(self.study.repeats(each)[:2] for each in (pool, other)), [pool, other]]

    def cost(self, network: Network) -> float | None:
        """Floating-point operations of a pretraining and of all that it builds on.

        0 without a pretraining, and for given weights, whose own are not counted. None if a stage
        does not know its number.
        """
        total = 0.0
        for each in dict.fromkeys(network.history):
            if each.trained:
                result = self.stages.get(pretraining.spec(self.study, each)).record.result
                if not isinstance(result, Pretrained) or result.flops is None:
                    return None
                total += result.flops
        return total + (student_flops(self.study) if network.objective == "student" else 0)

    def record(self) -> tuple[NetworkRecord, ...]:
        """The networks that were evaluated, with the stages that hold them."""
        return tuple(map(self._record, self.networks))

    def _record(self, network: Network) -> NetworkRecord:
        own = network.teachers[-1] if network.objective == "side_by_side" else network
        pretrained = pretraining.spec(self.study, own) if own.has_weights else None
        return NetworkRecord(
            label=self.study.label(network),
            network=network,
            backbone=self.study.name,
            pretrain=self.stages.get(pretrained).name if pretrained else None,
            finetune=self.finetuned(network).name,
            flops=self.cost(network),
            calibration=self.calibration(network),
        )

    def _on_folds(self, network: Network, division: int = 0) -> Stage:
        rate = self.learning_rate(network.repeated(0))
        return self.stages.get(cross_validate(self.study, network, rate, division))

    def _over_folds(self, spec: StageSpec) -> list[float]:
        """The metric of selection in every fold of a stage."""
        stage = self.stages.get(spec)
        labels, metric = self.study.dataset.labels, self.study.metric
        runs, found = runs_of(self.study, stage.spec), predictions(stage)
        each = [scores(labels[run.test], p) for run, p in zip(runs.values(), found, strict=True)]
        require(
            all(metric in fold for fold in each),
            f"search.metric={metric} is not defined in every fold; choose another metric",
        )
        return [fold[metric] for fold in each]

    def _out_of_fold(self, network: Network, division: int) -> list[np.ndarray]:
        """What the folds predict of the labelled images, in the order of their rows.

        An array `[n, k]` for each pretraining.
        """
        runs = on_folds(self.study, division)
        order = np.argsort(np.concatenate([run.test for run in runs.values()]), kind="stable")
        return [
            np.concatenate(predictions(self._on_folds(each, division)))[order]
            for each in self.study.repeats(network)
        ]


def _judged_with(network: Network) -> Network:
    """The network whose learning rate holds: a student and its teachers have one."""
    return network.teachers[0] if network.objective == "student" else network
