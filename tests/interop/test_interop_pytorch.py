"""Exported files in the real PyTorch modules and in ONNX Runtime; see requirements-interop.txt."""

import os
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.evaluation.export import load_backbone, load_model
from assl_jax.interop.export import export

pytestmark = [
    pytest.mark.long,
    # The libraries warn about their own parts.
    pytest.mark.filterwarnings("ignore"),
]

CASES = [
    ("torchvision", "resnet18", (64, 64), 3, {}),
    ("timm", "resnet18", (64, 64), 3, {}),
    ("torchvision", "vgg11", (64, 64), 3, {}),
    ("timm", "vgg11", (32, 32), 1, {}),
    ("monai", "resnet18", (64, 64, 64), 1, {}),
    ("torchvision", "resnet34", (64, 64), 3, {}),
    ("torchvision", "resnet50", (64, 64), 3, {}),
    ("timm", "resnet50", (64, 64), 3, {}),
    ("monai", "resnet50", (32, 48, 48), 1, {}),
    ("monai", "resnet50", (64, 64), 3, {"width": 0.5}),
    ("monai", "resnet18a", (64, 64, 64), 1, {}),
    ("monai", "resnet34a", (48, 48), 1, {}),
    ("monai", "resnet50a", (33, 40, 48), 1, {"width": 0.25}),
    # Where the library's own network differs, the code in the card says so.
    ("torchvision", "resnet18", (32, 32), 1, {"stem": "small"}),
    ("timm", "resnet10", (20, 64), 3, {"delay": [1, 0]}),
    ("torchvision", "vgg13", (20, 28), 3, {}),
    ("monai", "resnet10", (8, 40, 40), 1, {"stem": "half", "width": 0.25, "delay": [2, 0, 0]}),
    ("monai", "resnet10a", (8, 40, 40), 1, {"stem": "half", "width": 0.25, "delay": [2, 0, 0]}),
    ("timm", "resnet50", (20, 28), 3, {"delay": [1, 0]}),
]


def images(space, c):
    return np.random.default_rng(1).standard_normal((3, *space, c)).astype(np.float32)


def expected(workdir, network, x):
    if not network:
        module, variables = load_backbone(workdir)
        return jax.jit(module.apply)(variables, x)["pooled"]
    model = load_model(workdir / "stages" / "finetune-rotation-1-2")
    pooled = jax.jit(model.backbone.apply)(model.variables, x)["pooled"]
    return pooled @ model.kernel + model.bias[None]


def code_of(card):
    return card.read_text().partition("```python\n")[2].partition("```")[0]


@pytest.mark.parametrize("network", ["", "rotation"], ids=["backbone", "with head"])
@pytest.mark.parametrize("library, name, space, c, settings", CASES, ids=str)
def test_the_code_of_the_card_gives_our_outputs(
    library, name, space, c, settings, network, make_run, monkeypatch
):
    torch = pytest.importorskip("torch")
    pytest.importorskip(library)
    pytest.importorskip("safetensors")
    settings = {"name": name, "width": 1.0, "stem": "imagenet"} | settings
    workdir, *_ = make_run(space, c, **settings)
    written = export(workdir, library, network=network)
    monkeypatch.chdir(written.network.parent)
    names: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(code_of(written.card), names)
    x = images(space, c)
    with torch.no_grad():
        found = names["net"](torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    close(found, expected(workdir, network, x))


@pytest.mark.parametrize(
    "name, space, c, settings",
    [
        ("resnet18", (64, 64), 3, {"width": 1.0, "stem": "imagenet"}),
        ("vgg11", (32, 32), 3, {"width": 1.0}),
        ("resnet50", (32, 32), 3, {"stem": "imagenet"}),
        ("resnet50a", (30, 32, 20), 1, {"width": 0.25, "delay": [0, 0, 1]}),
        ("resnet18", (32, 32, 32), 1, {"width": 0.5, "delay": [1, 0, 0]}),
        ("resnet10", (16, 16), 1, {"stem": "small", "dtype": "bfloat16"}),
    ],
    ids=str,
)
def test_onnx_runtime_gives_our_outputs(name, space, c, settings, make_run, monkeypatch):
    pytest.importorskip("onnxruntime")
    workdir, *_ = make_run(space, c, name=name, **settings)
    written = export(workdir, "onnx", network="rotation")
    monkeypatch.chdir(written.network.parent)
    x = images(space, c)
    names = {"images": np.moveaxis(x, -1, 1).copy()}
    exec(code_of(written.card), names)
    tolerance = 0.02 if settings.get("dtype") == "bfloat16" else 1e-4  # the graph is float32
    close(names["logits"], expected(workdir, "rotation", x), tolerance)
    one = names["session"].run(None, {"images": names["images"][:1]})[0]
    np.testing.assert_allclose(one, names["logits"][:1], atol=1e-5)


@pytest.mark.parametrize("name, build", [("resnet18", "resnet18"), ("vgg11", "vgg11_bn")])
def test_torchvisions_file_gives_torchvisions_features(name, build, tmp_path):
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    from safetensors.torch import save_file

    from assl_jax.interop.start import read_start
    from assl_jax.models import make_backbone

    net = getattr(torchvision.models, build)().eval()
    for module in net.modules():  # running statistics and biases that are not the default ones
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.normal_(module.bias, std=0.1)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    backbone = make_backbone(name)
    variables = read_start(tmp_path / "w.safetensors", backbone, rank=2, channels=3)
    x = images((64, 64), 3)
    layers = net.features[:-1] if name == "vgg11" else torch.nn.Sequential(*[*net.children()][:-2])
    with torch.no_grad():
        maps = layers(torch.from_numpy(np.moveaxis(x, -1, 1).copy()))
    close(maps.mean((2, 3)).numpy(), jax.jit(backbone.apply)(variables, jnp.asarray(x))["pooled"])


def close(found, wanted, tolerance=1e-4):
    """Equal up to `tolerance`, relative to the largest output where that is above 1."""
    wanted = np.asarray(wanted)
    scale = max(1.0, float(np.abs(wanted).max()))
    difference = float(np.abs(found - wanted).max())
    if os.environ.get("SHOW_DIFFERENCES"):
        print(f"\nlargest difference {difference:.1e}, largest output {scale:.1f}")
    assert difference <= tolerance * scale
