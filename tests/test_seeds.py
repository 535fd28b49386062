"""One seed for each purpose."""

import collections
import types

import numpy as np

from assl_jax.seeds import derived
from assl_jax.strategies.finetuning import on_all_labels, on_folds


def test_a_seed_is_fixed_by_the_run_and_the_purpose():
    assert derived(0, "epoch", 3) == 429293943
    assert derived(0, "epoch", 3) != derived(1, "epoch", 3) != derived(1, "epoch", 4)
    assert 0 <= derived(2**32 - 1, "folds") < 2**31


def test_no_two_fine_tunings_of_a_hundred_studies_share_a_seed():
    """With sums of numbers, the folds of repeat 5 had the seeds of the next study's tests."""
    rows = np.arange(20)
    dataset = types.SimpleNamespace(
        labels=rows % 2, groups=rows, test=rows, labelled_sets=[rows], class_names=("a", "b")
    )
    seeds = collections.Counter()
    for seed in range(100):
        target = types.SimpleNamespace(seeds=9, folds=5)
        study = types.SimpleNamespace(dataset=dataset, target=target, seed=seed)
        seeds.update(run.seed for run in on_all_labels(study).values())
        for division in (*range(9), 1000):
            seeds.update(run.seed for run in on_folds(study, division).values())
    assert seeds.total() == len(seeds) == 100 * (9 + 10 * 5)
