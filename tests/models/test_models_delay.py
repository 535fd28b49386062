"""Networks that halve the short axes of thin volumes later than the long ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.models import make_backbone, suggest_delay
from assl_jax.models.halving import Halvings
from assl_jax.models.resnet import STEMS

CT = (2, 30, 270, 230, 1)


@pytest.fixture
def spaces(shapes):
    """`spaces(name, shape, **settings)`: the spatial axes of every stage, in order."""

    def run(*network, **settings):
        maps, _ = shapes(*network, **settings)
        stages = ("stem", *(f"stage{i}" for i in range(1, 6)))
        return [maps[stage].shape[1:-1] for stage in stages if stage in maps]

    return run


@pytest.mark.parametrize(
    "space, want",
    [
        ((30, 270, 230), (3, 0, 0)),
        ((16, 48, 48), (1, 0, 0)),
        ((28, 28, 28), (0, 0, 0)),
        ((96, 144), (0, 0)),
        ((64, 32, 33), (0, 1, 0)),
        ((1, 64), (6, 0)),
        ((15, 16, 128), (3, 3, 0)),
    ],
)
def test_suggested_delays(space, want):
    delay = suggest_delay(space)
    assert delay == want and all(type(d) is int for d in delay)
    assert suggest_delay(np.asarray(space)) == want and type(suggest_delay(list(space))) is tuple


def test_a_delayed_axis_waits_for_so_many_halvings():
    large = jnp.zeros((1, 9, 9, 9, 1))
    halve = Halvings((2, 0, 1), 3)
    strides = [halve(large) for _ in range(4)]
    assert strides == [(1, 2, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)]
    halve = Halvings((), 2)
    assert [halve(large[0]) for _ in range(2)] == [(2, 2), (2, 2)]


def test_two_positions_of_an_axis_remain():
    halve = Halvings((), 3)
    assert halve(jnp.zeros((1, 4, 3, 1, 5))) == (2, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, stem", [(n, s) for n in ("resnet18",) for s in STEMS] + [("vgg16", "half")]
)
@pytest.mark.parametrize("space", [(12, 40), (5, 6, 9)])
def test_small_tiles_keep_two_positions(shapes, name, stem, space):
    maps, variables = shapes(name, (2, *space, 1), stem=stem)
    assert all(min(a.shape[1:-1]) >= 2 for key, a in maps.items() if key != "pooled")
    # The weights do not depend on the size of the images.
    assert variables == shapes(name, (2, *(96 for _ in space), 1), stem=stem)[1]


PLANES = [(135, 115), (68, 58), (34, 29), (17, 15), (9, 8)]  # stem, then each stage of a ResNet
MAPS = {  # network, stem, delay: the maps of a volume of 30 slices of 270 x 230
    ("resnet18", "imagenet", (3, 0, 0)): ([30, 30, 30, 15, 8], PLANES),
    ("resnet18", "imagenet", (1, 0, 0)): ([30, 15, 8, 4, 2], PLANES),
    ("resnet10", "imagenet", (9, 0, 0)): ([30] * 5, PLANES),
    ("resnet34", "half", (3, 0, 0)): ([30, 30, 30, 30, 15], [PLANES[0], *PLANES[:4]]),
    ("resnet10", "small", (2, 0, 0)): ([30, 30, 30, 30, 15], [(270, 230)] * 2 + PLANES[:3]),
    ("vgg16", "imagenet", (3, 0, 0)): (
        [30, 30, 30, 30, 15],
        [(270, 230), (135, 115), (67, 57), (33, 28), (16, 14)],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name, stem, delay", MAPS)
def test_maps_of_a_thin_volume(spaces, name, stem, delay):
    slices, planes = MAPS[name, stem, delay]
    found = spaces(name, CT, stem=stem, delay=delay)
    assert found == [(n, *yx) for n, yx in zip(slices, planes, strict=True)]


@pytest.mark.parametrize("name, halvings", [("resnet10", 5), ("vgg11", 4)])
def test_any_axis_of_any_rank_can_be_delayed(spaces, name, halvings):
    *_, last = spaces(name, (2, 64, 64, 3), delay=(0, 2))
    assert last == (64 >> halvings, 64 >> halvings - 2)
    *_, last = spaces(name, (2, 64, 64, 64, 1), delay=(1, 0, 4))
    assert last == tuple(64 >> max(0, halvings - d) for d in (1, 0, 4))
    assert spaces(name, (2, 1, 64, 64, 1), delay=(2, 0, 0))[-1][0] == 1


@pytest.mark.parametrize(
    "settings, stem",
    [
        ({}, (7, 7, 7)),
        ({"delay": (0, 0, 0)}, (7, 7, 7)),
        ({"delay": (3, 0, 0)}, (3, 7, 7)),
        ({"delay": (3, 0, 0), "stem": "half"}, (3, 3, 3)),
        ({"delay": (3, 0, 0), "stem": "small"}, (3, 3, 3)),
    ],
)
def test_a_delay_changes_no_parameter_but_the_width_of_the_stem(shapes, settings, stem):
    found = shapes("resnet10", CT, **settings)[1]["params"]
    plain = shapes("resnet10", CT, stem=settings.get("stem", "imagenet"))[1]["params"]
    assert found["stem_conv"]["kernel"].shape == (*stem, 1, 64)
    assert found == {**plain, "stem_conv": found["stem_conv"]}
    # The volume that initialises the network does not change them.
    assert shapes("resnet10", (1, 1, 40, 9, 1), **settings)[1]["params"] == found


def apply(name, shape, quick_jit, drawn, **settings):
    """A function from images to a narrow network's features in evaluation mode, and images."""
    backbone = make_backbone(name, width=1 / 16, **settings)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    variables = drawn(backbone.init, x)
    run = quick_jit(backbone.apply)
    return lambda x: jax.tree.map(np.asarray, run(variables, x)), x


@pytest.mark.slow
def test_a_max_pool_does_not_mix_the_slices_that_it_leaves_alone(quick_jit, drawn):
    run, x = apply("resnet10", (1, 12, 8, 8, 1), quick_jit, drawn, delay=(2, 0, 0))
    before = run(x)
    x[:, 0] += 3.0
    after = run(x)
    # The stem's kernel reaches one slice further, and so does each convolution of stage 1.
    for stage, count in {"stem": 2, "stage1": 4}.items():
        changed = np.any(before[stage] != after[stage], axis=(0, 2, 3, 4))
        np.testing.assert_array_equal(changed, np.arange(12) < count, err_msg=stage)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet10", "vgg11"])
def test_bfloat16(quick_jit, drawn, name):
    exact, x = apply(name, (2, 6, 24, 20, 1), quick_jit, drawn, delay=(2, 0, 0))
    near, _ = apply(name, (2, 6, 24, 20, 1), quick_jit, drawn, delay=(2, 0, 0), dtype="bfloat16")
    exact, near = exact(x), near(x)
    last = max(key for key in exact if key.startswith("stage"))
    assert near[last].dtype == jnp.bfloat16 and near["pooled"].dtype == np.float32
    assert near[last].shape == exact[last].shape
    np.testing.assert_allclose(near["pooled"], exact["pooled"], atol=0.03 * exact["pooled"].max())


@pytest.mark.parametrize("name", ["resnet18", "vgg16"])
def test_a_list_is_accepted_and_the_network_is_hashable(name):
    listed, given = make_backbone(name, delay=[3, 0, 0]), make_backbone(name, delay=(3, 0, 0))
    assert listed == given and hash(listed) == hash(given) and listed.delay == (3, 0, 0)
    assert given != make_backbone(name) and make_backbone(name, delay=[]) == make_backbone(name)


@pytest.mark.parametrize("name", ["resnet10", "vgg11"])
@pytest.mark.parametrize("shape", [(1, 8, 8, 1), (1, 8, 8, 8, 8, 1)])
def test_a_delay_for_another_rank_is_refused(shapes, name, shape):
    message = rf"backbone.delay=\(3, 0, 0\) .* the images have {len(shape) - 2} spatial axes"
    with pytest.raises(InputError, match=message) as error:
        shapes(name, shape, delay=(3, 0, 0))
    assert "\n" not in str(error.value)
