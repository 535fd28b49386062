"""Results of the experiments over many networks, made of the paper's own numbers."""

import copy

import pytest

from assl_jax.report import paper


def entry(percents, std=0.5, **more):
    runs = [(percents + d) / 100 for d in (-std, 0.0, std)]
    return {"accuracy": percents / 100, "std": std / 100, "runs": runs, "selection": None, **more}


def pairs():
    """A run of `pairs` that found exactly the paper's Table 1."""
    tasks = list(paper.SINGLES[2])
    found = [
        {
            "pool": [*row.a1, row.a2],
            "similarity": row.similarity,
            **{key: getattr(row, key) / 100 for key in ("avg", "max", "avg_gain", "max_gain")},
            **entry(row.accuracy, 0.4),
        }
        for row in paper.TABLE_1
    ]
    known = {frozenset(p["pool"]): p["similarity"] for p in found}
    matrix = [[known.get(frozenset((a, b)), 1.0) for b in tasks] for a in tasks]
    p_values = {"spearman_p": 0.0125, "pearson_p": 0.0004}
    return {
        "experiment": "pairs",
        "data": "stl10",
        "seed": 0,
        "select_on": "cv",
        "metric": "accuracy",
        "labels": 1000,
        "test_images": 8000,
        "scratch": entry(63.19),
        "singles": {task: entry(value) for task, value in paper.SINGLES[2].items()},
        "similarity": {
            "tasks": tasks,
            "n": 4096,
            "layer": "pooled",
            "estimator": "biased",
            "matrix": matrix,
        },
        "pairs": found,
        "correlation": {
            "avg_gain": {"spearman": -0.843611, "pearson": -0.857781, **p_values},
            "max_gain": {"spearman": -0.717857, "pearson": -0.746248, **p_values},
        },
    }


def row(pool, plain, after, second=None):
    """A row whose interval reaches 1.5 points to each side of the difference."""
    gained = (after - plain) / 100
    networks = ["plain", "self_assl"] + (["second_run"] if second else [])
    return {
        "pool": pool,
        "plain": entry(plain),
        "self_assl": entry(after, 0.3),
        **({"second_run": entry(second)} if second else {}),
        "difference": {
            "mean": gained,
            "std": 0.004,
            "low": gained - 0.015,
            "high": gained + 0.015,
        },
        "similarity": {n: 0.8 - 0.3 * (n == "self_assl") for n in networks if n != "plain"},
        "untrained": {n: 0.1 + 0.05 * i for i, n in enumerate(networks)},
        "effective_rank": {n: 20.25 + i for i, n in enumerate(networks)},
    }


def table4(backbones=("vgg16", "resnet18"), experiment="table4"):
    """A run over the backbones that found exactly the 2D half of the paper's Table 4."""
    groups = []
    for backbone in backbones:
        key = (2, paper.network(backbone))
        rows = [
            row([task], printed.plain, printed.self_assl, printed.plain + 0.7)
            for task, printed in paper.TABLE_4[key].items()
        ]
        scratch = entry(paper.SCRATCH[key])
        groups.append({"backbone": backbone, "scratch": scratch, "rows": rows})
    settings = {"weight": 1.0, "sign": "complementary", "layer": "pooled"}
    settings |= {"estimator": "unbiased", "standardise": "whiten", "queue": 4.0}
    settings |= {"init_from": "scratch", "use": "f_prime"}
    return {
        "experiment": experiment,
        "data": "stl10",
        "seed": 0,
        "select_on": "cv",
        "metric": "accuracy",
        "labels": 1000,
        "test_images": 8000,
        "self_assl": {"settings": settings, "backbones": groups},
    }


@pytest.fixture
def pairs_results():
    return copy.deepcopy(pairs())


@pytest.fixture
def table4_results():
    return copy.deepcopy(table4())
