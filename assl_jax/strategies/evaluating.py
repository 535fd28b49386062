"""Evaluation stages: a network fine-tuned on few labels, tested, and cross-validated."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from assl_jax.errors import require
from assl_jax.evaluation.calibration import calibrate
from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.export import export_model
from assl_jax.evaluation.finetune import Target
from assl_jax.evaluation.scores import METRICS, on_test_set, scores
from assl_jax.evaluation.uncertainty import Gain, estimate, paired_gain, summarise
from assl_jax.files import read_array
from assl_jax.models import SideBySide
from assl_jax.records import MODEL_FOLDER, Calibration, Estimate, Evaluation, Finetuned, Folds
from assl_jax.strategies.finetuning import (
    FOR_RATES,
    Run,
    Runs,
    file_of,
    finetune_all,
    fold_runs,
    runs_on_all_labels,
)
from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.pretraining import Pretraining
from assl_jax.strategies.settings import TargetSettings
from assl_jax.strategies.setup import Setup
from assl_jax.strategies.stages import Stage
from assl_jax.training.loop import Logging
from assl_jax.training.processes import is_primary
from assl_jax.training.state import TrainState

TITLES = {
    "finetune": "fine-tune {network}",
    "rate": "cross-validate {network} with the learning rate {rate:g}",
    "select": "cross-validate {network}",
}


@dataclasses.dataclass(frozen=True)
class Evaluating:
    """Fine-tunes and tests the networks of a study.

    Attributes:
      setup: objects and settings shared by all stages.
      settings: how a backbone is fine-tuned.
      metric: the metric used for selection, one of `METRICS`.
      pretraining: gives the backbones.
      selects: whether networks are also cross-validated, to select by it, if there are folds.
      summaries: the metrics over several pretrainings, by the folders of their fine-tunings. The
        bootstrap of a large test set takes seconds.
    """

    setup: Setup
    settings: TargetSettings
    metric: str
    pretraining: Pretraining
    selects: bool = True
    summaries: dict[tuple[Path, ...], Evaluation] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )

    def run(self, network: Network) -> Evaluation:
        """Test metrics, the chosen learning rate, and the metric of selection over the folds.

        They are those of all pretrainings of the network.
        """
        repeats = self.pretraining.repeats(network)
        each = [self._tested(repeat) for repeat in repeats]
        found = each[0]
        if len(each) > 1:
            folders = tuple(self.finetune(repeat).folder for repeat in repeats)
            if folders not in self.summaries:
                self.summaries[folders] = self._summarise(
                    self.probabilities(network), pretrainings=len(each)
                )
            found = self.summaries[folders]
        if self.settings.chooses_rate:
            found = found.replace(learning_rate=self.learning_rate(network))
        if not (self.selects and self.settings.folds):
            return found
        return found.replace(selection=self.selection(network))

    def stages(self, network: Network, *, tested: bool = True) -> list[Callable[[], Stage]]:
        """The work of `run`, or of `selection` if not `tested`: a piece computes one stage.

        Processes that share the work take a piece each; a single one does them in this order.
        """
        part, repeats = functools.partial, self.pretraining.repeats(network)
        parents = [parent for r in repeats for parent in self.pretraining.mixing.parents(r)]
        found = [part(self.pretraining.run, parent) for parent in parents]
        for rate in self.settings.rates if self.settings.chooses_rate else ():
            at = self._at(rate)
            found += [part(at._cross_validate, "rate", repeat, FOR_RATES) for repeat in repeats]
        found += [part(self.finetune, repeat) for repeat in repeats if tested]
        selects = self.settings.folds and (self.selects or not tested)
        return [*found, *(self.on_folds(network) if selects else ())]

    def on_folds(self, network: Network, repeat: int = 0) -> list[Callable[[], Stage]]:
        """The cross-validations of each pretraining of a network, as `stages`."""
        repeats = self.pretraining.repeats(network)
        return [functools.partial(self.cross_validate, each, repeat) for each in repeats]

    def selection(self, network: Network, repeats: Sequence[int] = (0,)) -> Estimate:
        """The metric of selection over the folds; the test set is not used.

        Args:
          network: the network.
          repeats: numbers of the divisions into folds, see `cross_validate`.
        """
        pretrained = self.pretraining.repeats(network)
        stages = [self.cross_validate(each, repeat) for each in pretrained for repeat in repeats]
        values = [value for stage in stages for value in self._over_folds(stage)]
        return estimate(values, pretrainings=len(pretrained))

    def calibration(self, network: Network) -> Calibration | None:
        """Fitted to the predictions of all folds and pretrainings; None without folds."""
        if not (self.selects and self.settings.folds):
            return None
        runs, repeats = self.folds(), self.pretraining.repeats(network)
        rows = np.concatenate([run.test for run in runs.values()])
        found = [p for each in repeats for p in _predictions(self.cross_validate(each), runs)]
        labels = np.tile(self.setup.dataset.labels[rows], len(repeats))
        return calibrate(labels, np.concatenate(found))

    def learning_rate(self, network: Network) -> float:
        """The learning rate of a network's fine-tunings, see `TargetSettings.learning_rates`.

        All pretrainings of the network have the same one.
        """
        rates = self.settings.rates
        if not self.settings.chooses_rate:
            return rates[0]
        best = max if METRICS[self.metric].higher_is_better else min
        return best(rates, key=lambda rate: self._at(rate)._value(network))

    def _value(self, network: Network) -> float:
        """The mean metric of selection over the folds that choose the learning rate."""
        repeats = self.pretraining.repeats(network)
        stages = [self._cross_validate("rate", repeat, FOR_RATES) for repeat in repeats]
        return float(np.mean([self._over_folds(stage) for stage in stages]))

    def _at(self, rate: float) -> "Evaluating":
        """The same with one learning rate."""
        return dataclasses.replace(self, settings=self.settings.at(rate))

    def _tested(self, network: Network) -> Evaluation:
        found = self.finetune(network).record.result
        assert isinstance(found, Finetuned)
        return found.evaluation

    def _summarise(
        self, probabilities: Sequence[np.ndarray], *, pretrainings: int = 1
    ) -> Evaluation:
        """The metrics of some fine-tunings on the test set."""
        dataset, rows = self.setup.dataset, self.setup.dataset.test
        return summarise(
            dataset.labels[rows], probabilities, dataset.groups[rows], pretrainings=pretrainings
        )

    def _over_folds(self, stage: Stage) -> tuple[float, ...]:
        """The metric of selection in every fold of a stage."""
        folds = stage.record.result
        assert isinstance(folds, Folds)
        require(
            self.metric in folds.metrics,
            f"search.metric={self.metric} is not defined in every fold; choose another metric",
        )
        return folds.metrics[self.metric]

    def finetune(self, network: Network) -> Stage:
        """Fine-tune on all labels, for every labelled set and seed, and test.

        The probabilities of each run lie in the stage's `predictions/`, `[n, k]` in the order of
        the test set.
        """
        return self._at(self.learning_rate(network))._finetune(network)

    def _finetune(self, network: Network) -> Stage:
        def compute(folder: Path) -> Finetuned:
            probabilities = self._finetune_all(folder, "finetune", network, self.test_runs())
            return Finetuned(evaluation=self._summarise(list(probabilities.values())))

        settings = {"data": self.setup.inputs["labelled and test"], "seeds": self.settings.seeds}
        return self._stage("finetune", network, settings, compute)

    def cross_validate(self, network: Network, repeat: int = 0) -> Stage:
        """Fine-tune inside each labelled set, fold by fold. The test set is not used.

        Args:
          network: the network.
          repeat: number of the division into folds. The first one chooses the network that a search
            starts with; a later one compares it with others.
        """
        return self._at(self.learning_rate(network))._cross_validate("select", network, repeat)

    def _cross_validate(self, kind: str, network: Network, repeat: int) -> Stage:
        dataset = self.setup.dataset

        def compute(folder: Path) -> Folds:
            runs = self.folds(repeat)
            probabilities = self._finetune_all(folder, kind, network, runs)
            each = [scores(dataset.labels[runs[name].test], p) for name, p in probabilities.items()]
            complete = [name for name in METRICS if all(name in fold for fold in each)]
            return Folds(metrics={m: tuple(fold[m] for fold in each) for m in complete})

        settings = {"data": self.setup.inputs["labelled"], "folds": self.settings.folds}
        if repeat:
            settings["repeat"] = repeat
        return self._stage(kind, network, settings, compute)

    def gain(
        self,
        before: Network,
        after: Network,
        *,
        on_test: bool = False,
        repeats: Sequence[int] = (0,),
    ) -> Gain:
        """How much better `after` is than `before` in the metric of the selection.

        Args:
          before, after: two networks.
          on_test: compare them on the test set, not in cross-validation.
          repeats: numbers of the divisions into folds, see `cross_validate`; the gain is the mean
            over them.
        """
        dataset = self.setup.dataset
        if on_test:
            rows = dataset.test
            old, new = self.probabilities(before), self.probabilities(after)
        else:
            rows = np.sort(np.concatenate(dataset.labelled_sets))
            old, new = (self._out_of_fold(network, repeats) for network in (before, after))
        most = max(len(old), len(new))
        return paired_gain(
            self.metric,
            dataset.labels[rows],
            old * (most // len(old)),  # a teacher stands beside each pretraining of the other
            new * (most // len(new)),
            dataset.groups[rows],
            pretrainings=max(len(self.pretraining.repeats(each)) for each in (before, after)),
        )

    def _out_of_fold(self, network: Network, repeats: Sequence[int]) -> list[np.ndarray]:
        """What the folds predict of the labelled images, in the order of their rows.

        An array `[n, k]` for each pretraining and division, those of one pretraining together.
        """
        found = []
        for each in self.pretraining.repeats(network):
            for repeat in repeats:
                runs = self.folds(repeat)
                predicted = _predictions(self.cross_validate(each, repeat), runs)
                rows = np.concatenate([run.test for run in runs.values()])
                found.append(np.concatenate(predicted)[np.argsort(rows, kind="stable")])
        return found

    def over_scratch(self, network: Network) -> Estimate | None:
        """The test metric of `network` minus that of scratch, see `scores.on_test_set`.

        The repetitions are the fine-tunings. The 95 % interval is over the patients of the test
        set, paired by image, and over the pretrainings if there are several. None if the metric is
        undefined.
        """
        dataset, metric = self.setup.dataset, on_test_set(self.metric)
        labels, groups = dataset.labels[dataset.test], dataset.groups[dataset.test]
        pretrainings = len(self.pretraining.repeats(network))
        # Without a pretraining there is nothing to repeat.
        old, new = self.probabilities(SCRATCH) * pretrainings, self.probabilities(network)
        before, after = ([scores(labels, p) for p in runs] for runs in (old, new))
        if any(metric not in run for run in (*before, *after)):
            return None
        each = [b[metric] - a[metric] for a, b in zip(before, after, strict=True)]
        gain = paired_gain(metric, labels, old, new, groups, pretrainings=pretrainings)
        return estimate(each, (gain.mean - gain.reach, gain.mean + gain.reach), pretrainings)

    def probabilities(self, network: Network) -> list[np.ndarray]:
        """The test-set probabilities `[n, k]` of each network fine-tuned on all labels.

        Those of one pretraining come after those of another.
        """
        stages = map(self.finetune, self.pretraining.repeats(network))
        return [p for stage in stages for p in _predictions(stage, self.test_runs())]

    def runs(self, *, tested: bool = True) -> list[Run]:
        """Every fine-tuning of a network: with every rate, on all labels if `tested`, on the folds.

        Those that `run` asks for, or those of `selection`.
        """
        found = [*self.test_runs().values()] if tested else []
        if self.settings.chooses_rate:
            found += len(self.settings.rates) * [*self.folds(FOR_RATES).values()]
        return found + [*self.folds().values()] if self.selects else found

    def test_runs(self) -> Runs:
        return runs_on_all_labels(self.setup.dataset, self.settings, self.setup.seed)

    def folds(self, repeat: int = 0) -> Runs:
        return fold_runs(self.setup.dataset, self.settings, self.setup.seed, repeat)

    def _stage(self, kind: str, network: Network, settings: dict[str, Any], compute: Any) -> Stage:
        networks = [network.plain, network] if network.side_by_side else [network]
        parents = [self.pretraining.run(parent) for parent in networks if parent.has_weights]
        settings = {
            **self.setup.identity,
            **settings,
            "training": dataclasses.asdict(self.settings.training),
            "shift": self.settings.shift,
            "flip": self.settings.flip,
            "head": self.settings.head,
            "balance": self.settings.balance,
        }
        return self.setup.stage(
            kind, network, settings, compute, code=[Evaluating], parents=parents
        )

    def _finetune_all(
        self, folder: Path, kind: str, network: Network, runs: Runs
    ) -> dict[str, np.ndarray]:
        """The probabilities of every run; the first networks fine-tuned on all labels are kept."""
        setup = self.setup
        copies = 2 if network.side_by_side else 1
        backbone = setup.backbone if copies == 1 else SideBySide(setup.backbone, copies)

        def keep(number: int, state: TrainState) -> None:
            if number >= self.settings.keep:
                return
            export_model(
                folder / MODEL_FOLDER,
                {"params": state.params, "batch_stats": state.batch_stats},
                settings={**setup.backbone_settings, "copies": copies},
                dataset=setup.dataset,
                number=number,
            )

        title = TITLES[kind].format(network=setup.words(network), rate=self.settings.rates[0])
        with setup.recording(folder, kind, network) as record:
            return finetune_all(
                self._target(backbone),
                self._pretrained(network),
                runs,
                folder=folder / "predictions",
                title=title,
                logging=Logging(every=setup.log_every, record=record),
                checkpoint_every=setup.checkpoint_every,
                keep=keep if kind == "finetune" and is_primary() else None,
            )

    def _pretrained(self, network: Network) -> dict[str, Any] | None:
        """The weights that fine-tuning starts from; None to train from scratch."""
        if not network.has_weights:
            return None
        load, run = self.pretraining.load, self.pretraining.run
        own = load(run(network))
        if not network.side_by_side:
            return own
        return SideBySide.gather(load(run(network.plain)), own)

    def _target(self, backbone: nn.Module) -> Target:
        settings, dataset = self.settings, self.setup.dataset
        task = Classification(
            classes=dataset.num_classes,
            shift=settings.shift,
            flip=settings.flip,
            intensity=dataset.intensity,
        )
        return Target(
            backbone,
            task,
            self.setup.images,
            dataset.labels,
            settings.training,
            self.setup.eval_batch_size,
            settings.head,
            settings.balance,
            dataset.groups,
        )


def _predictions(stage: Stage, runs: Runs) -> list[np.ndarray]:
    """The probabilities of the runs of a stage."""
    return [read_array(stage.folder / "predictions" / file_of(run)) for run in runs]
