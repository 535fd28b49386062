"""Names, shapes and layouts against stored facts about torchvision and MONAI; no torch needed."""

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.interop.tensors import encode_tensors, read_record, read_tensors
from assl_jax.interop.weights import Head, fit, to_own, to_torch
from assl_jax.models import make_backbone

NETWORKS = [
    ("torchvision resnet18", "resnet18", (64, 64, 3)),
    ("torchvision resnet34", "resnet34", (64, 64, 3)),
    ("torchvision resnet50", "resnet50", (64, 64, 3)),
    ("torchvision vgg11_bn", "vgg11", (32, 32, 3)),
    ("monai resnet18", "resnet18", (32, 32, 32, 1)),
    ("monai resnet18a", "resnet18a", (32, 32, 32, 1)),
]


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.slow
@pytest.mark.parametrize("stored, name, image", NETWORKS, ids=lambda v: str(v))
def test_names_and_shapes_and_the_way_back(stored, name, image, state_dicts, weights):
    """The head of torchvision's VGG differs, so the stored names are those of its features."""
    backbone = make_backbone(name)
    variables = weights(backbone, *image)
    library, _ = stored.split()
    pooled = 2048 if name == "resnet50" else 512
    head = Head(np.ones((pooled, 10), np.float32), np.zeros(10, np.float32))
    arrays = to_torch(backbone, variables, library, head)
    shapes = {key: "x".join(map(str, a.shape)) for key, a in arrays.items()}
    if name == "vgg11":
        assert shapes.pop("classifier.weight") == "10x512"
        assert shapes.pop("classifier.bias") == "10"
    assert shapes == state_dicts[stored]
    back = fit(arrays, backbone, rank=len(image) - 1, channels=image[-1], source="f")
    equal(back, variables)


@pytest.fixture(scope="module")
def small(weights):
    backbone = make_backbone("resnet10", width=1 / 32)
    return backbone, weights(backbone, 64, 64, 3)


def test_a_kernel_is_transposed_and_nothing_else(small):
    backbone, variables = small
    arrays = to_torch(backbone, variables, "timm")
    kernel = variables["params"]["stage2_block1"]["shortcut_conv"]["kernel"]
    assert kernel.shape == (1, 1, 2, 4) and "fc.weight" not in arrays
    np.testing.assert_array_equal(
        arrays["layer2.0.downsample.0.weight"][:, :, 0, 0], kernel[0, 0].T
    )
    stem = variables["params"]["stem_conv"]["kernel"]
    assert arrays["conv1.weight"][1, 2, 3, 4] == stem[3, 4, 2, 1]
    np.testing.assert_array_equal(
        arrays["layer1.0.bn2.running_var"], variables["batch_stats"]["stage1_block1"]["bn2"]["var"]
    )


def test_from_images_to_volumes(small):
    """A volume of equal slices, periodic along the depth, gives the answer of the image.

    Padding with zeros changes the outer slices, so the first convolution is compared inside.
    """
    backbone, variables = small
    arrays = to_torch(backbone, variables, "torchvision")
    inflated = fit(arrays, backbone, rank=3, channels=3, source="f")
    flat = variables["params"]["stem_conv"]["kernel"]
    kernel = inflated["params"]["stem_conv"]["kernel"]
    assert kernel.shape == (7, *flat.shape)
    np.testing.assert_allclose(kernel.sum(0), flat, rtol=1e-5, atol=1e-7)
    image = np.random.default_rng(0).standard_normal((1, 20, 20, 3)).astype(np.float32)
    volume = np.repeat(image[:, None], 15, 1)
    plane = jax.lax.conv_general_dilated(
        image, flat, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    space = jax.lax.conv_general_dilated(
        volume, kernel, (1, 1, 1), "VALID", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )
    for slice_ in np.moveaxis(np.asarray(space), 1, 0):
        np.testing.assert_allclose(slice_, plane, rtol=1e-4, atol=1e-5)
    # A shorter kernel along the axis that `delay` names is repeated as often as it is long.
    thin = make_backbone("resnet10", width=1 / 32, delay=(2, 0, 0))
    short = fit(arrays, thin, rank=3, channels=3, source="f")["params"]["stem_conv"]["kernel"]
    assert short.shape == (3, *flat.shape)
    np.testing.assert_allclose(short.sum(0), flat, rtol=1e-5, atol=1e-7)


def test_other_channels(small, weights):
    backbone, variables = small
    arrays = to_torch(backbone, variables, "torchvision")
    flat = variables["params"]["stem_conv"]["kernel"]
    grey = fit(arrays, backbone, rank=2, channels=1, source="f")["params"]["stem_conv"]["kernel"]
    np.testing.assert_array_equal(grey, flat.sum(2, keepdims=True))
    one = weights(backbone, 64, 64, 1)
    colour = fit(to_own(one), backbone, rank=2, channels=3, source="f")
    kernel = colour["params"]["stem_conv"]["kernel"]
    np.testing.assert_allclose(
        kernel.sum(2, keepdims=True), one["params"]["stem_conv"]["kernel"], rtol=1e-6
    )
    with pytest.raises(InputError, match=r"conv1.weight in the shape \(2, 3, 7, 7\)"):
        fit(arrays, backbone, rank=2, channels=4, source="f")


@pytest.mark.parametrize("name, image", [("vgg11", (32, 32, 3)), ("resnet10", (32, 32, 32, 1))])
def test_a_bias_before_batch_norm_goes_into_the_mean(name, image, weights):
    backbone = make_backbone(name, width=1 / 32)
    variables = weights(backbone, *image)
    library = "torchvision" if name == "vgg11" else "monai"
    arrays = to_torch(backbone, variables, library)
    biases = [
        key
        for key in arrays
        if key.endswith(".bias") and key.replace("bias", "running_var") not in arrays
    ]
    assert biases
    shifted = arrays | {key: arrays[key] + 0.25 for key in biases}
    back = fit(shifted, backbone, rank=len(image) - 1, channels=image[-1], source="f")
    pairs = zip(*(jax.tree.leaves(v["batch_stats"]) for v in (back, variables)), strict=True)
    means = [(new, old) for new, old in pairs if not np.array_equal(new, old)]
    assert len(means) == len(biases)
    for new, old in means:
        np.testing.assert_array_equal(new, old - np.float32(0.25))


@pytest.mark.parametrize(
    "name, says",
    [
        ("layer4.1.conv1.weight", r"in the shape \(3,\)"),
        ("layer2.0.downsample.0.bias", r"in the shape \(3,\), which must be \(4,\)"),
    ],
    ids=["extra", "bias"],
)
def test_weights_of_another_network(small, name, says):
    backbone, variables = small
    arrays = to_torch(backbone, variables, "torchvision") | {name: np.zeros(3)}
    with pytest.raises(InputError, match=f"holds {name} {says}"):
        fit(arrays, backbone, rank=2, channels=3, source="f")


def test_a_library_without_such_a_network():
    with pytest.raises(InputError, match="monai has no counterpart of VGG"):
        to_torch(make_backbone("vgg11"), {"params": {}, "batch_stats": {}}, "monai")


def test_equal_arrays_give_equal_files(tmp_path):
    """Whatever order the library writes a header in; the arrays come back."""
    arrays = {f"w{i}": np.arange(i + 1, dtype=np.float32) for i in range(5)}
    contents = {encode_tensors(arrays, {"network": "tägs", "n": 1}) for _ in range(20)}
    (content,) = contents
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    equal(read_tensors(file), arrays)
    assert read_record(file) == {"network": "tägs", "n": 1}
