"""Networks inside the files of other programs, and the settings that a message gives."""

import functools
import re

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.interop.weights import fit, to_own, to_torch
from assl_jax.models import make_backbone

PARTS = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
SOURCE = "init.path=w.safetensors"


def behind(prefix, arrays):
    return {prefix + name: array for name, array in arrays.items()}


def numbered(arrays, numbers):
    """The names of `nn.Sequential` with the network's parts at some numbers."""
    number = dict(zip(PARTS, numbers, strict=True))
    split = {name: name.partition(".") for name in arrays}
    return {f"{number[split[n][0]]}.{split[n][2]}": array for n, array in arrays.items()}


def other(arrays):
    return {name: array + 1 for name, array in arrays.items()}


def read(stored, backbone):
    return fit(stored, backbone, rank=2, channels=3, source=SOURCE)


def gives(stored, backbone, variables):
    """The file has just these weights."""
    jax.tree.map(np.testing.assert_array_equal, read(stored, backbone), variables)


@pytest.fixture(scope="module")
def small(weights):
    backbone = make_backbone("resnet10", width=1 / 32, stem="half")
    variables = weights(backbone, 32, 32, 3)
    return backbone, variables, to_torch(backbone, variables, "torchvision")


WHOLE = [
    "module.",
    "module.encoder_q.",
    "backbone.",
    "model.",
    "_orig_mod.",
    "encoder.",
    "module._orig_mod.net.trunk.",
    "layer1.",
]


@pytest.mark.parametrize("prefix", WHOLE)
def test_whatever_stands_before_the_names_is_taken_off(prefix, small, capsys):
    backbone, variables, arrays = small
    gives(behind(prefix, arrays), backbone, variables)
    assert capsys.readouterr().err == f"{SOURCE}: read {prefix}*\n"


@pytest.mark.parametrize("prefix", ["", "backbone.", "online.net."])
@pytest.mark.parametrize("numbers", [(0, 1, 4, 5, 6, 7), (0, 1, 2, 3, 4, 5), (1, 2, 9, 10, 11, 12)])
def test_numbers_stand_for_the_parts_in_their_order(prefix, numbers, small, capsys):
    """With and without ReLU and pooling among the parts; 10 comes after 9."""
    backbone, variables, arrays = small
    stored = behind(prefix, numbered(arrays, numbers))
    stored |= {f"{prefix}{max(numbers) + 2}.weight": np.zeros((5, 16), np.float32)}
    gives(stored, backbone, variables)
    said = capsys.readouterr().err
    assert f"took {', '.join(map(str, numbers))} as {', '.join(PARTS)}" in said
    assert said.endswith(f"; left out {prefix}{max(numbers) + 2}\n")


EXTRA = {
    "queue": np.zeros((8, 16), np.float32),
    "queue_ptr": np.zeros(1, np.int64),
    "projector.0.weight": np.zeros((4, 4), np.float32),
    "projector.1.running_mean": np.zeros(4, np.float32),
    "fc.0.weight": np.zeros((4, 4), np.float32),
    "decoder.up.weight": np.zeros((4, 4, 2, 2), np.float32),
}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("beside", [("queue",), ("projector.0.weight",), tuple(EXTRA)])
def test_what_lies_beside_the_network_is_left_out_and_said(prefix, beside, small, capsys):
    backbone, variables, arrays = small
    stored = behind(prefix, arrays | {name: EXTRA[name] for name in beside})
    gives(stored, backbone, variables)
    parts = dict.fromkeys(prefix + name.partition(".")[0] for name in beside)
    assert capsys.readouterr().err.endswith(f"left out {', '.join(parts)}\n")


def test_a_plain_file_is_read_without_a_word(small, capsys):
    backbone, variables, arrays = small
    read(arrays, backbone)
    read(to_own(variables), backbone)
    assert capsys.readouterr().err == ""


def test_other_words_for_a_shortcut(small):
    backbone, variables, arrays = small
    stored = {name.replace("downsample", "shortcut"): array for name, array in arrays.items()}
    gives(behind("encoder.", stored), backbone, variables)


def test_the_layers_of_a_vgg_without_their_first_name(weights, capsys):
    backbone = make_backbone("vgg11", width=1 / 32)
    variables = weights(backbone, 32, 32, 3)
    arrays = to_torch(backbone, variables, "torchvision")
    for stored in (
        {name.removeprefix("features."): array for name, array in arrays.items()},
        {name.replace("features.", "backbone.0."): array for name, array in arrays.items()},
        arrays | {"classifier.6.weight": np.zeros((5, 16), np.float32)},
    ):
        gives(stored, backbone, variables)
    assert capsys.readouterr().err == (
        f"{SOURCE}: read backbone.0.*\n{SOURCE}: left out classifier\n"
    )


PAIRS = [
    ("module.encoder_q.", "module.encoder_k."),
    ("student.backbone.", "teacher.backbone."),
    ("backbone.", "momentum_backbone."),
    ("backbone.", "backbone_momentum."),
    ("base_encoder.", "momentum_encoder."),
    ("online_network.", "target_network."),
    ("state_dict.", "model_ema."),
]


@pytest.mark.parametrize("prefix, follower", PAIRS)
@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
def test_a_network_that_follows_another_is_left_out(prefix, follower, first, small, capsys):
    backbone, variables, arrays = small
    pair = [behind(prefix, arrays), behind(follower, other(arrays))]
    stored = pair[0] | pair[1] if first else pair[1] | pair[0]
    gives(stored, backbone, variables)
    said = capsys.readouterr().err
    assert said.startswith(f"{SOURCE}: read {prefix}*; left out {follower.partition('.')[0]}")
    alone = read(pair[1], backbone)
    stem = alone["params"]["stem_conv"]["kernel"] - variables["params"]["stem_conv"]["kernel"]
    np.testing.assert_allclose(stem, 1, rtol=1e-5)


def test_equal_networks_are_one(small):
    backbone, variables, arrays = small
    twice = behind("b.", arrays) | behind("model.a.", arrays)
    gives(twice, backbone, variables)


@functools.cache
def zeros(name, rank=2, channels=3, library="torchvision", **settings):
    """A file of a network of these settings."""
    backbone = make_backbone(name, **{"width": 1 / 32} | settings)
    image = jax.ShapeDtypeStruct((1, *(32,) * rank, channels), np.float32)
    shapes = jax.eval_shape(backbone.init, jax.random.key(0), image)
    variables = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
    return to_torch(backbone, variables, library) if library else to_own(variables)


FLAGS = re.compile(r"--config\.backbone\.(\w+)=(\S+)")
GIVEN = {
    "deeper": (("resnet18",), {}, {"name": "resnet10"}),
    "bottlenecks": (("resnet50",), {}, {"name": "resnet34"}),
    "shallower": (("resnet10",), {}, {"name": "resnet50"}),
    "shortcut A": (("resnet18a", 3, 1, "monai"), {}, {"name": "resnet18"}),
    "wider": (("resnet18",), {"width": 3 / 32}, {"name": "resnet18"}),
    "another stem": (("resnet10",), {}, {"name": "resnet10", "stem": "quarter"}),
    "a stem of 3": (("resnet10",), {"stem": "small"}, {"name": "resnet10"}),
    "all of them": (("resnet34",), {"width": 1 / 8, "stem": "half"}, {"name": "resnet10"}),
    "VGG": (("vgg11",), {}, {"name": "resnet10"}),
    "our own names": (("resnet18", 2, 3, ""), {"stem": "half"}, {"name": "resnet10"}),
    "thin volumes": (("resnet10", 3, 1, "monai"), {}, {"name": "resnet10", "delay": (2, 0, 0)}),
}


@pytest.mark.parametrize("words", GIVEN)
def test_the_flags_of_a_message_fit_the_file(words, capsys):
    prefix = "module.encoder_q."
    file, settings, asked = GIVEN[words]
    rank, channels = file[1:3] or (2, 3)
    stored = behind(prefix, zeros(*file, **settings)) | {"queue": np.zeros(3, np.float32)}
    images = {"rank": rank, "channels": channels, "source": SOURCE}
    with pytest.raises(InputError) as error:
        fit(stored, make_backbone(**{"width": 1 / 64} | asked), **images)
    message = str(error.value)
    assert "\n" not in message and f" {prefix}" in message
    flags = dict(FLAGS.findall(message))
    assert {"name", "width"} <= flags.keys() and ("stem" in flags) == (words != "VGG")
    given = flags | {"width": float(flags["width"])}
    if "delay" in flags:
        given["delay"] = tuple(map(int, flags["delay"].strip('"()').split(",")))
    fit(stored, make_backbone(**given), **images)
    assert "left out queue" in capsys.readouterr().err
    same = "(the stems quarter, half, small have the same arrays)"
    assert (same in message) == (flags.get("stem") in ("small", "half"))


@pytest.mark.parametrize(
    "file, channels, says",
    [
        (("resnet10", 3, 1, "monai"), 1, "the file is for volumes of 1 channel(s)"),
        (("resnet10",), 4, "the file is for images of 3 channel(s)"),
    ],
)
def test_a_file_for_other_images(file, channels, says):
    with pytest.raises(InputError) as error:
        backbone = make_backbone("resnet10", width=1 / 32)
        fit(zeros(*file), backbone, rank=2, channels=channels, source=SOURCE)
    assert str(error.value).endswith(says)


TRANSFORMER = {
    "cls_token": np.zeros((1, 1, 8), np.float32),
    "patch_embed.proj.weight": np.zeros((8, 3, 4, 4), np.float32),
    "blocks.0.norm1.weight": np.zeros(8, np.float32),
}


def test_a_network_that_no_backbone_has():
    asked = make_backbone("resnet10", width=1 / 32)
    fit_ = functools.partial(fit, backbone=asked, rank=2, channels=3, source=SOURCE)
    with pytest.raises(
        InputError, match="no ResNet-10; its kernels are cls_token .1, 1, 8., patch"
    ):
        fit_(TRANSFORMER)
    wide = zeros("resnet10") | {"layer3.0.conv2.weight": np.zeros((8, 99, 3, 3), np.float32)}
    with pytest.raises(
        InputError,
        match=r"holds layer3.0.conv2.weight in the shape \(8, 99, 3, 3\); ResNet-10 needs "
        r"\(8, 8, 3, 3\); no backbone has these arrays: name another file",
    ):
        fit_(wide)
