"""`python -m assl_jax probe` on runs made by hand: two networks with random weights, and digits."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finished_runs import network, results_of

from assl_jax import records
from assl_jax.__main__ import main
from assl_jax.commands import probe
from assl_jax.config import base_config
from assl_jax.data import load
from assl_jax.evaluation import export
from assl_jax.evaluation import scores as metrics
from assl_jax.evaluation.export import export_backbone, load_backbone, load_intensity
from assl_jax.evaluation.probes import knn, linear_probe
from assl_jax.evaluation.scores import METRICS, scores, shares
from assl_jax.files import write_json
from assl_jax.models import SideBySide
from assl_jax.models.base import batch_norm, global_average
from assl_jax.models.conv import Conv
from assl_jax.ops.intensity import Intensity
from assl_jax.records import Estimate, Evaluation, Probed, Probes

DATA = {"name": "digits", "side": 12, "labels": 40, "test": 60}
CONFIG = {"seed": 3, "eval_batch_size": 64, "similarity": {"n": 128}}
SETTINGS = {"width": 8}


class Backbone(nn.Module):
    """Two convolutions: compiled in no time."""

    width: int = 8
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, x, *, train=False):
        x = Conv(4, 3, 2, name="stem_conv")(x)
        stem = nn.relu(batch_norm(train, jnp.float32, self.bn_momentum, "bn1")(x))
        x = Conv(self.width, 3, 2, name="conv")(stem)
        x = nn.relu(batch_norm(train, jnp.float32, self.bn_momentum, "bn2")(x))
        return {"stem": stem, "stage1": x, "pooled": global_average(x)}


def make_backbone(width, copies=1):
    return Backbone(width) if copies == 1 else SideBySide(Backbone(width), copies)


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "make_backbone", make_backbone)
        yield


def write_config(workdir, data=DATA, **changes):
    config = base_config(data["name"])
    config.update({**CONFIG, **changes, "data": data})
    write_json(workdir / "config.json", config.to_dict())


def write_results(workdir, networks):
    """A finished run with networks (label, pretraining stage)."""
    records.write(
        workdir / "results.json",
        results_of([network(label, pretrain=stage) for label, stage in networks]),
    )


@pytest.fixture(scope="module")
def weights(drawn):
    """`weights(shift, channels)`: the variables of a small network."""

    def draw(shift=0.0, channels=1, **settings):
        module = make_backbone(**SETTINGS | settings)
        variables = drawn(module.init, jnp.zeros((1, 12, 12, channels)))
        return jax.tree.map(lambda a: a + np.float32(shift), variables)

    return draw


@pytest.fixture(scope="module")
def runs(tmp_path_factory, weights):
    """A run, its stages, and networks that fit the run or do not, in one folder."""
    root = tmp_path_factory.mktemp("runs")
    (root / "run").mkdir()
    write_config(root / "run")
    write_results(
        root / "run",
        [
            ("scratch", None),
            ("simclr", "pretrain-simclr-1"),
            ("simclr+rotation", "pretrain-simclr+rotation-2"),
            ("simclr.second_run", "pretrain-simclr-1"),
        ],
    )
    more = {"settings": SETTINGS, "pool": ("simclr",)}
    intensity = load(**DATA).intensity
    for i, name in enumerate(("simclr-1", "simclr+rotation-2")):
        folder = root / "stages" / f"pretrain-{name}" / "backbone"
        export_backbone(folder, weights(0.02 * i), intensity=intensity, **more)
    export_backbone(root / "run" / "backbone", weights(0.02), intensity=intensity, **more)
    three = Intensity(mean=(0.5,) * 3, std=(0.2,) * 3)
    export_backbone(root / "colour" / "backbone", weights(channels=3), intensity=intensity, **more)
    export_backbone(root / "mean" / "backbone", weights(), intensity=three, **more)
    nothing = weights(np.nan)
    export_backbone(root / "broken" / "backbone", nothing, intensity=intensity, **more)
    for name, other in (("wider", {"width": 16}), ("two", {"copies": 2})):
        more["settings"] = SETTINGS | other
        export_backbone(root / name / "backbone", weights(**other), intensity=intensity, **more)
    return root


def command(*arguments):
    main(["probe", *map(str, arguments)])


def direct(folder, layer="pooled", k=20):
    """Both probes on the features of one call of the network."""
    data = load(**DATA)
    module, variables = load_backbone(folder)

    def of(rows):
        x = module.apply(variables, load_intensity(folder)(data.images[rows]))[layer]
        return np.asarray(x).mean(tuple(range(1, x.ndim - 1)))

    train, test = data.labelled_sets[0], data.test
    arguments = of(train), data.labels[train], of(test)
    found = {
        "linear": linear_probe(*arguments, classes=10, seed=3),
        "knn": knn(*arguments, classes=10, k=k),
    }
    return {name: scores(data.labels[test], p) for name, p in found.items()}


@pytest.fixture(scope="module")
def finished(runs):
    command(f"--workdir={runs / 'run'}")
    return records.read(runs / "run" / "probes.json", Probes)


@pytest.mark.slow
def test_every_pretrained_network_once_after_an_untrained_one(finished, runs):
    labels = [entry.label for entry in finished.networks]
    assert labels == ["untrained", "simclr", "simclr+rotation"]
    assert (finished.labels, finished.test_images) == (40, 60)
    assert finished.layer == "pooled" and finished.k == 20
    for entry in finished.networks:
        assert entry.features == 8 and 1 < entry.effective_rank < 8
        for which in ("linear", "knn"):
            evaluation = entry.probes[which]
            assert set(evaluation.metrics) == set(METRICS)
            assert evaluation.accuracy.low < evaluation.accuracy.high
            assert np.sum(evaluation.confusion) == 60


@pytest.mark.slow
def test_the_figures_are_those_of_a_direct_call(finished, runs):
    for entry in finished.networks[1:]:
        stage = next((runs / "stages").glob(f"pretrain-{entry.label}-*"))
        assert entry.folder.endswith(stage.name)
        for which, expected in direct(stage).items():
            for metric, value in expected.items():
                found = entry.probes[which].metrics[metric].mean
                assert found == pytest.approx(value, abs=0.02), (entry.label, which, metric)
    one, two = finished.networks[1:]
    assert one.probes["linear"].metrics != two.probes["linear"].metrics


@pytest.mark.slow
def test_the_table_and_chosen_networks(finished, runs, tmp_path, capsys):
    out = tmp_path / "found.json"
    before = (runs / "run" / "probes.json").read_bytes()
    chosen = "--networks=simclr.second_run, simclr+rotation"
    command(f"--workdir={runs / 'run'}", chosen, "--layer=stem", "--k=1", f"--out={out}")
    found = records.read(out, Probes)
    assert [e.label for e in found.networks] == [
        "untrained",
        "simclr.second_run",
        "simclr+rotation",
    ]
    expected = direct(runs / "stages" / "pretrain-simclr-1", "stem", 1)
    entry = found.networks[1]
    assert entry.features == 4 and (found.layer, found.k) == ("stem", 1)
    figures = {which: entry.probes[which].accuracy for which in ("linear", "knn")}
    for which, values in figures.items():
        assert values.mean == pytest.approx(expected[which]["accuracy"], abs=0.02)
    assert (runs / "run" / "probes.json").read_bytes() == before

    shown, err = capsys.readouterr()
    caption, _, head, _, *rows = shown.splitlines()
    assert "(stem)" in caption and "40 labels, 60 test images" in caption
    # 60 test images are few: all metrics are shown.
    others = [metric.title for name, metric in shares().items() if name != "accuracy"]
    columns = [
        f"{which}{end}" for which in ("Linear", "k-NN") for end in ("", *(f", {o}" for o in others))
    ]
    places = [head.index(f"  {column}") for column in [*columns, "Effective rank"]]
    assert places == sorted(places)
    row = next(r for r in rows if r.startswith("simclr.second_run"))
    for values in figures.values():
        mean, low, high = (f"{100 * v:.1f}" for v in (values.mean, values.low, values.high))
        assert f"{mean} [{low}, {high}]" in row
    assert row.endswith(f"{entry.effective_rank:.1f}")
    assert str(out) in rows[-1]
    assert "probe: 3/3" in err


@pytest.mark.slow
def test_checkpoints_replace_the_networks_or_join_them(finished, runs, tmp_path):
    def labels(*arguments):
        found = probe.probe_networks(runs / "run", **dict(arguments))
        return {e.label: e.probes["linear"].metrics for e in found.networks}

    exported, wider = runs / "run", runs / "wider"
    alone = labels(("checkpoints", [exported]))
    assert list(alone) == ["untrained", str(exported)]
    # The run's backbone is that of simclr+rotation.
    assert alone[str(exported)] == finished.networks[2].probes["linear"].metrics
    assert alone["untrained"] == finished.networks[0].probes["linear"].metrics
    both = labels(("networks", ["simclr"]), ("checkpoints", [wider]))
    assert list(both) == ["untrained (simclr)", f"untrained ({wider})", "simclr", str(wider)]
    # A run that is not finished has a config, and that is enough.
    write_config(tmp_path)
    found = probe.probe_networks(tmp_path, checkpoints=[exported])
    assert found.networks[1].probes["linear"].metrics == alone[str(exported)]


@pytest.mark.slow
def test_statistics_of_the_untrained_network_are_reestimated(finished, runs, tmp_path):
    write_config(tmp_path, similarity={"n": 128, "reestimate_bn": False})
    found = probe.probe_networks(tmp_path, checkpoints=[runs / "run"])
    before, now = finished.networks, found.networks
    assert now[0].effective_rank != before[0].effective_rank
    assert now[1].effective_rank == before[2].effective_rank


def found_with(patients=None, test_images=500, classes=10, sets=1):
    estimate = Estimate(mean=0.5, std=0.02 * (sets > 1), low=0.4, high=0.6)
    entry = Evaluation(metrics=dict.fromkeys(METRICS, estimate), confusion=())
    network = Probed(
        label="src",
        folder=None,
        features=8,
        effective_rank=3.0,
        probes={"linear": entry, "knn": entry},
    )
    return Probes(
        data="digits",
        layer="pooled",
        k=20,
        classes=("c",) * classes,
        labels=1000,
        labelled_sets=sets,
        test_images=test_images,
        patients=patients,
        networks=(network,),
    )


@pytest.mark.parametrize(
    "kind, columns",
    [({}, 4), ({"test_images": 150}, 10), ({"patients": 50}, 10), ({"classes": 2}, 10)],
    ids=str,
)
def test_more_metrics_for_small_test_sets_and_two_classes(kind, columns):
    table = probe.probe_table(found_with(**kind))
    assert len(table.columns) == columns == len(table.rows[0].cells)


def test_another_metric_is_another_column_and_never_more_cells_than_heads(monkeypatch):
    found = found_with(classes=2)
    monkeypatch.setitem(METRICS, "kappa", metrics.Metric("kappa", metrics.accuracy))
    table = probe.probe_table(found)
    assert len(table.columns) == 12 == len(table.rows[0].cells)
    assert "Linear, kappa" in table.columns  # not measured here: a dash
    assert table.rows[0].cells[table.columns.index("Linear, kappa")].text == "–"


def test_the_deviation_over_labelled_sets():
    table = probe.probe_table(found_with(sets=10))
    assert "standard deviation over 10 labelled sets" in table.caption
    assert table.rows[0].cells[1].text == "50.0 ± 2.0 [40.0, 60.0]"
    assert probe.probe_table(found_with()).rows[0].cells[1].text == "50.0 [40.0, 60.0]"


@pytest.mark.parametrize(
    "folder, says",
    [
        ("colour", "other images than those of digits"),
        ("mean", "of digits (12x12x1)"),
        ("broken", "features that are not finite"),
    ],
)
def test_a_network_that_cannot_be_probed(folder, says, runs, tmp_path, capsys):
    before, out = sorted(runs.rglob("*")), tmp_path / "new.json"
    with pytest.raises(SystemExit) as stop:
        command(f"--out={out}", f"--workdir={runs / 'run'}", f"--checkpoint={runs / folder}")
    out, err = capsys.readouterr()
    # The progress of the networks before the broken one is not part of the message.
    lines = [line for line in err.splitlines() if not line.startswith("probe: ")]
    assert stop.value.code == 2 and out == ""
    assert len(lines) == 1 and lines[0].startswith("error: ") and says in lines[0], err
    assert sorted(runs.rglob("*")) == before


@pytest.mark.parametrize(
    "networks, says",
    [
        ([], "no pretrained network"),
        ([("scratch", None)], "no pretrained network"),
        ([("src", "pretrain-src-1")], "pretrain-src-1 holds"),
    ],
)
def test_results_that_do_not_help(networks, says, tmp_path, capsys):
    write_config(tmp_path)
    write_results(tmp_path, networks)
    with pytest.raises(SystemExit) as stop:
        command(f"--workdir={tmp_path}")
    assert stop.value.code == 2 and says in capsys.readouterr().err
