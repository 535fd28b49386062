"""Aggregates at equal compute: what is planned, and how differences are summarised."""

import json

import numpy as np
import pytest

from benchmarks import gain


def test_every_single_once_and_a_control_for_the_distilled_pool():
    planned = {plan.label: plan for plan in gain.plans([("a", "b"), ("a", "c"), ("d",)])}
    first = ["scratch", "a", "b", "distil a+b", "longer a+b", "alternate a+b", "joint a+b"]
    assert list(planned)[:8] == [*first, "c"] and list(planned)[-1] == "d"
    assert planned["longer a+b"].pool == ("a",) and planned["longer a+b"].as_long_as == ("a", "b")
    assert planned["distil a+b"].against == "longer a+b" and planned["joint a+b"].against == "a"


def test_the_interval_draws_seeds_and_images():
    same = np.full((2, 400), 0.02)
    assert gain.interval(same) == pytest.approx((2.0, 2.0))
    seeds = np.stack([np.full(400, 0.01), np.full(400, 0.03)])  # only the seed matters
    assert gain.interval(seeds) == pytest.approx((1.0, 3.0))
    images = np.tile(np.repeat([1.0, -1.0], 200), (2, 1))  # only the images matter
    low, high = gain.interval(images)
    assert low == pytest.approx(-9.8, abs=1.5) and high == pytest.approx(9.8, abs=1.5)


def test_rows_compare_the_seeds_that_both_networks_have(tmp_path):
    planned = gain.plans([("a", "b")])
    facts = json.dumps({"flops": 2e12, "steps": 3, "seconds": 1.0, "effective_rank": 5.0})
    for label, seeds, share in (("a", (0, 1), 0.5), ("joint a+b", (1,), 0.75)):
        hits = (np.arange(100) < 100 * share).astype(np.float32)
        for seed in seeds:
            file = tmp_path / f"{label.replace(' ', '_')}.seed{seed}.npz"
            np.savez(file, **dict.fromkeys(gain.JUDGES, hits), facts=facts)
    rows = {row["network"]: row for row in gain.summary(planned, gain.read(tmp_path, planned))}
    assert list(rows) == ["a", "joint a+b"] and rows["a"]["seeds"] == 2
    assert rows["a"]["fine-tuned (%)"] == "50.00 ± 0.00" and rows["a"]["TFLOP"] == 2.0
    assert rows["joint a+b"]["gain, fine-tuned"].startswith("+25.00 [+")
    assert "gain, fine-tuned" not in rows["a"]
