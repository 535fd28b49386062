"""Properties of all proxy tasks, on RGB images, one-channel images and volumes."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_tasks import small_task

from assl_jax.errors import InputError
from assl_jax.models import make_backbone
from assl_jax.models.heads import flatten_views
from assl_jax.objectives.penalised import Penalised
from assl_jax.objectives.penalty import Penalty
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks import TASKS, Batch, ProxyTask, describe, make_task
from assl_jax.tasks.base import SPARE_COLOURS, spare_colour
from assl_jax.training.feed import Examples
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.state import init_state
from assl_jax.training.step import make_step

CASES = {"rgb": (2, 32, 32, 3), "grey": (2, 32, 32, 1), "volume": (2, 16, 16, 16, 1)}
ONLY_VOLUMES = [name for name, task in TASKS.items() if task.ranks == (3,)]
VIEWS = {  # task: shape of the inputs without batch and channels
    **dict.fromkeys(["src", "mcpc", "sc_assl"], {2: (5, 12, 12), 3: (7, 6, 6, 6)}),
    "jigsaw": {2: (9, 8, 8), 3: (8, 6, 6, 6)},
    "rotation": {2: (4, 32, 32), 3: (10, 16, 16, 16)},
    "inpaint": {2: (1, 32, 32), 3: (1, 16, 16, 16)},
    "models_genesis": {2: (1, 32, 32), 3: (1, 16, 16, 16)},
    **dict.fromkeys(["simclr", "vicreg", "byol"], {2: (2, 32, 32), 3: (2, 16, 16, 16)}),
    "cpc": {2: (9, 12, 12), 3: (27, 6, 6, 6)},
    "rubiks_cube": {3: (8, 6, 6, 6)},
}
TABLES = {  # task: the shape of what its labels stand for
    **dict.fromkeys(["src", "mcpc", "sc_assl"], {2: (24, 5, 2), 3: (48, 7, 3)}),
    "jigsaw": {2: (10, 9), 3: (10, 8)},
    "rubiks_cube": {3: (10, 8)},
}
EVERY = pytest.mark.parametrize("name", TASKS)


def every_on(*cases):
    """Parametrize by task and case; tasks for volumes skip the other cases.

    Where images are a case, volumes of the tasks for both are slow.
    """
    slow = pytest.mark.slow if len(cases) > 1 else ()
    pairs = [
        pytest.param(
            name, case, marks=slow if case == "volume" and name not in ONLY_VOLUMES else ()
        )
        for name in TASKS
        for case in cases
        if case == "volume" or name not in ONLY_VOLUMES
    ]
    return pytest.mark.parametrize("name, case", pairs)


def stored(case):
    shape = CASES[case]
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return images, len(shape) - 2


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


@EVERY
def test_is_a_proxy_task_that_says_what_it_is_called(name):
    task = small_task(name)
    assert isinstance(task, ProxyTask) and task.name == name and TASKS[name] is type(task)
    assert task == small_task(name) and hash(task) == hash(small_task(name))
    assert describe(name) == (task.title, task.short, task.summary, task.colour)
    assert task.title and len(task.short) <= len(task.title)
    assert re.fullmatch(r"([A-Z].*[a-z]\.)", task.summary) and len(task.summary) < 200
    assert re.fullmatch("#[0-9A-F]{6}", task.colour)


def test_no_two_tasks_share_a_label():
    for field in ("title", "short", "summary", "colour"):
        assert len({getattr(describe(name), field) for name in TASKS}) == len(TASKS), field


def test_a_name_without_a_task_is_its_own_title():
    label = describe("a task of ours")
    assert label[:3] == ("a task of ours", "a task of ours", "")
    assert label.colour == describe("a task of ours").colour in SPARE_COLOURS


def test_short_and_colour_have_defaults():
    class Plain(ProxyTask):
        name, title = "plain", "A plain task"

    class Full(Plain):
        title, short, colour = "A full task", "Full", "#123456"

    assert (Plain.short, Plain.summary) == ("A plain task", "")
    assert Plain.colour == spare_colour("plain") in SPARE_COLOURS
    assert (Full.short, Full.colour) == ("Full", "#123456")
    assert Plain.label_table(None, 2) is None


def test_a_task_without_its_methods_is_refused():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Plain(ProxyTask):
        name, title = "plain", "A plain task"
        intensity: Intensity = Intensity()

    with pytest.raises(TypeError, match="abstract methods? .*head.*loss.*make_batch"):
        Plain()


@every_on("rgb", "volume")
def test_batch(make, name, case):
    images, rank = stored(case)
    task = small_task(name, rank)
    batch = make(task, images)
    assert batch.inputs.shape == (2, *VIEWS[name][rank], images.shape[-1])
    assert np.isfinite(batch.inputs).all()
    assert all(len(leaf) == 2 for leaf in jax.tree.leaves(batch))  # can be cut into micro-batches
    assert same(batch, make(task, images)) and not same(batch, make(task, images, key=1))
    assert np.abs(batch.inputs[0] - batch.inputs[1]).max() > 0
    if name in TABLES:
        targets = [make(task, images, key=k).targets for k in range(30)]
        labels = np.array([t["permutation"] if isinstance(t, dict) else t for t in targets])
        classes = TABLES[name][rank][0]
        assert labels.dtype == np.int32 and labels.shape == (30, 2)
        assert 0 <= labels.min() < 0.3 * classes and 0.7 * classes < labels.max() < classes


@every_on("rgb", "volume")
def test_gradient_reaches_the_backbone_through_the_head(make, objective, quick_jit, name, case):
    images, rank = stored(case)
    task = small_task(name, rank)
    batch = make(task, images)
    variables, loss = objective(task, batch)
    assert list(variables["head"]) == ["params"]  # no running statistics in a head
    gradient = quick_jit(jax.value_and_grad(loss, has_aux=True))
    (value, metrics), grads = gradient(variables, batch)
    assert value.shape == () and 0 < value < 50
    assert all(m.shape == () and np.isfinite(m) for m in metrics.values())
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, path
    if "accuracy" in metrics:
        assert 0 <= metrics["accuracy"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, case",
    [("src", "rgb"), ("cpc", "rgb"), ("jigsaw", "volume"), ("rubiks_cube", "volume")],
)
def test_tiles_train_every_position_of_every_kernel(make, drawn, quick_jit, name, case):
    """No map of a tile shrinks to one position, where a kernel sees padding but for its centre."""
    images, rank = stored(case)
    tiles = flatten_views(make(small_task(name, rank), images).inputs)
    backbone = make_backbone("resnet10", width=1 / 8, stem="half")
    variables = drawn(backbone.init, tiles)

    def loss(params):
        maps, _ = backbone.apply(
            {**variables, "params": params}, tiles, train=True, mutable=["batch_stats"]
        )
        return jnp.sin(maps["pooled"]).sum()

    grads = quick_jit(jax.grad(loss))(variables["params"])
    kernels = [np.abs(leaf) for leaf in jax.tree.leaves(grads) if leaf.ndim > 2]
    assert len(kernels) == 12
    for kernel in kernels:
        assert (kernel.max((-2, -1)) > 0).all()


@pytest.mark.slow
@every_on("volume")
def test_a_step_of_self_assl_takes_every_task(name, case):
    """Traced, not run: the penalty sees all views, and the state keeps its shape."""
    images, rank = stored(case)
    backbone, optimiser = make_backbone("resnet10", width=1 / 32, stem="half"), Optimiser()
    objective = Penalised(part=small_task(name, rank), penalty=Penalty(weight=1.0))

    def begin(key):
        return init_state(key, backbone, objective, optimiser, images)

    with jax.disable_jit():  # a function that is compiled with options cannot be traced
        state = jax.eval_shape(begin, jax.random.key(0))
    queue = state.carry[name].queue
    assert queue.own.shape == queue.frozen.shape == (64, 16)
    step = make_step(backbone, objective, optimiser)
    arguments = Examples(jnp.asarray(images), None), jax.random.key(0), jnp.float32(0)
    after, metrics = jax.eval_shape(step, state, *arguments, {"first": state.variables})
    assert after == state and {"penalty", "similarity", "proxy_loss"} <= set(metrics[name])


@EVERY
def test_label_tables_are_stable_and_hold_what_the_labels_stand_for(name):
    for rank in TASKS[name].ranks:
        table, second = (small_task(name, rank).label_table(rank) for _ in range(2))
        if name not in TABLES:
            assert table is None
            continue
        np.testing.assert_array_equal(table, second)
        assert table.shape == TABLES[name][rank]
        other = small_task(name, rank, seed=1).label_table(rank)
        assert rank == 2 or (other != table).any()


OUT_OF_RANGE = [
    ("mcpc", "temperature", 0.0, "above 0"),
    ("mcpc", "projection", -1, "at least 0"),
    ("sc_assl", "temperature", -1.0, "above 0"),
    ("sc_assl", "mcpc_weight", -1.0, "at least 0"),
    ("src", "crop_fraction", 1.2, "above 0 and at most 1"),
    ("src", "overlap", 1.0, "at least 0 and below 1"),
    ("rotation", "crop_fraction", 0.0, "above 0"),
    ("rotation", "shift", 0.5, "at least 0 and below 0.5"),
    ("inpaint", "mask_fraction", 1.0, ".* and below 1"),
    ("inpaint", "coarse", -1, "at least 0"),
    ("jigsaw", "grey", 1.5, "at least 0 and at most 1"),
    ("jigsaw", "tile_fraction", 1.5, ".* and at most 1"),
    ("jigsaw", "grid", 1, "at least 2"),
    ("rubiks_cube", "grid", 1, "at least 2"),
    ("rubiks_cube", "tile_fraction", 0.0, "above 0"),
    ("rubiks_cube", "turn_weight", -0.5, "at least 0"),
    ("models_genesis", "paint", 1.2, "at least 0 and at most 1"),
    ("models_genesis", "flip", -0.1, "at least 0 and at most 1"),
    ("models_genesis", "window_fraction", 0.0, "above 0 and at most 1"),
    ("models_genesis", "boxes", 0, "at least 1"),
    ("models_genesis", "outpaint_sides", (0.5,), "two fractions"),
    ("simclr", "temperature", 0.0, "above 0"),
    ("simclr", "crop_scale", 1.5, "above 0 and at most 1"),
    ("vicreg", "crop_scale", 0.0, "above 0 and at most 1"),
    ("vicreg", "covariance", -1.0, "at least 0"),
    ("byol", "momentum", 1.0, "above 0 and below 1"),
    ("cpc", "crop_fraction", 1.2, "above 0 and at most 1"),
    ("cpc", "steps", 3, "below task.cpc.grid=3"),
    ("cpc", "steps", 0, "at least 1"),
]
WRONG = [
    *(
        (name, {field: value}, f"task.{name}.{field}={re.escape(str(value))} must be {says}")
        for name, field, value, says in OUT_OF_RANGE
    ),
    ("simlcr", {}, "task='simlcr' is unknown; did you mean 'simclr'"),
    ("src", {"crop_fractoin": 0.5}, "setting of task src='crop_fractoin'.*'crop_fraction'"),
    ("inpaint", {"region": "center"}, "task.inpaint.region='center'.*did you mean 'centre'"),
    ("mcpc", {"form": "info-nce"}, "task.mcpc.form='info-nce'.*did you mean 'info_nce'"),
    ("sc_assl", {"reduction": "men"}, "task.sc_assl.reduction='men'.*did you mean 'mean'"),
    ("sc_assl", {"balance": "norm"}, "task.sc_assl.balance='norm'"),
    ("models_genesis", {"inpaint_sides": (0.5, 0.2)}, r"=\(0.5, 0.2\).*the smaller first"),
]


@pytest.mark.parametrize("name, settings, message", WRONG)
def test_wrong_settings_are_one_clear_line(name, settings, message):
    with pytest.raises(InputError, match=message) as error:
        make_task(name, **settings)
    assert "\n" not in str(error.value) and "(one of name" not in str(error.value)


@pytest.mark.parametrize(
    "name, settings, space, message",
    [
        ("src", {}, (9, 9), "task src: images of 9x9 give tiles of 2x2.*or a larger crop_fraction"),
        ("src", {}, (4, 96, 96), "task src: images of 4x96x96"),
        ("mcpc", {}, (9, 40), "task mcpc: images of 9x40 give tiles of 2x16, at least 4 per axis"),
        ("jigsaw", {"permutations": 10}, (9, 40), "jigsaw: images of 9x40 give tiles of 2x10"),
        ("jigsaw", {"grid": 2}, (40, 40), "2 gives 4 tiles, permutations=100.* between 1 and 4!"),
        ("cpc", {}, (9, 40), "task cpc: images of 9x40 give tiles of 2x16, at least 4 per axis"),
        ("cpc", {"grid": 5}, (12, 20, 20), "of 12x20x20 give tiles of 2x4x4.*smaller grid"),
    ],
)
def test_images_that_do_not_suit_are_one_clear_line(name, settings, space, message):
    images = jax.ShapeDtypeStruct((2, *space, 1), jnp.uint8)
    with pytest.raises(InputError, match=message) as error:
        jax.eval_shape(make_task(name, **settings).make_batch, jax.random.key(0), images)
    assert "\n" not in str(error.value)


def test_losses_of_a_guess_are_those_of_chance(quick_jit):
    """Equal logits for every class: the logarithm of the number of classes."""
    for name, classes in [("src", 24), ("jigsaw", 10)]:
        batch = Batch(jnp.zeros((3, 1)), jnp.arange(3))
        loss, metrics = quick_jit(small_task(name).loss)(jnp.zeros((3, classes)), batch)
        np.testing.assert_allclose(loss, math.log(classes), rtol=1e-6)
        assert metrics["accuracy"] == pytest.approx(1 / 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, space, value, margin",
    [
        ("mcpc", (24, 24), 1.0, 0.2),  # features, all at or above 0, leave the ratio at 1
        ("cpc", (24, 24), (math.log(24) + math.log(12)) / 2, 0.5),  # 2 x 12 keys, and 12
        ("cpc", (14, 14, 14), (math.log(72) + math.log(36)) / 2, 0.5),
    ],
)
def test_starts_near_chance_on_the_features_of_a_resnet(
    make, objective, quick_jit, name, space, value, margin
):
    task = make_task(name)
    images = np.random.default_rng(0).integers(0, 256, (4, *space, 1), dtype=np.uint8)
    batch = make(task, images)
    variables, loss = objective(task, batch, make_backbone("resnet10", width=1 / 16, stem="small"))
    assert quick_jit(loss)(variables, batch)[0] == pytest.approx(value, abs=margin)
