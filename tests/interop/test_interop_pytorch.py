"""Exported files in the real PyTorch modules and in ONNX Runtime; see requirements-interop.txt."""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doc_pages import blocks

from assl_jax.data.file_reader import FileReader
from assl_jax.errors import InputError
from assl_jax.evaluation.export import load_backbone, load_intensity, load_model
from assl_jax.interop.export import export
from assl_jax.interop.start import read_start
from assl_jax.models import make_backbone
from assl_jax.records import Calibration, as_settings

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


CALIBRATION = Calibration(temperature=2.5)


def images(space, c):
    return np.random.default_rng(1).standard_normal((3, *space, c)).astype(np.float32)


def expected(workdir, network, x):
    if not network:
        module, variables = load_backbone(workdir)
        return jax.jit(module.apply)(variables, x)["pooled"]
    model = load_model(workdir / "stages" / "finetune-rotation-1-2")
    pooled = jax.jit(model.backbone.apply)(model.variables, x)["pooled"]
    return (pooled @ model.kernel + model.bias[None]) / CALIBRATION.temperature


def outputs(net, x):
    """Of a network of PyTorch, which has the channels first."""
    import torch

    with torch.no_grad():
        return net(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()


def code_of(card):
    """Of its preprocessing and of the network."""
    return "\n".join(re.findall("```python\n(.*?)```", card.read_text(), re.DOTALL))


def test_the_code_in_the_walk_through(make_run, monkeypatch):
    pytest.importorskip("monai")
    pytest.importorskip("safetensors")
    (code,) = blocks("docs/from_folder_to_pytorch.md", "python")
    workdir, *_ = make_run((32, 32), 3, width=0.25)
    written = export(workdir, "monai").network
    monkeypatch.chdir(written.parent)
    (name,) = re.findall(r'load_file\("(.+)"\)', code)
    written.rename(name)
    names: dict = {}
    exec(code, names)
    x = images((32, 32), 3)
    close(outputs(names["net"], x), expected(workdir, "", x))


@pytest.mark.parametrize("network", ["", "rotation"], ids=["backbone", "with head"])
@pytest.mark.parametrize("library, name, space, c, settings", CASES, ids=str)
def test_the_code_of_the_card_gives_our_outputs(
    library, name, space, c, settings, network, make_run, monkeypatch
):
    pytest.importorskip(library)
    pytest.importorskip("safetensors")
    settings = {"name": name, "width": 1.0, "stem": "imagenet"} | settings
    workdir, *_ = make_run(space, c, calibration=CALIBRATION, **settings)
    written = export(workdir, library, network=network)
    monkeypatch.chdir(written.network.parent)
    names: dict = {}
    exec(code_of(written.card), names)
    x = images(space, c)
    close(outputs(names["net"], x), expected(workdir, network, x))


FILES = [
    ("torchvision", (64, 64), 3, "resnet18", {"side": 64, "channels": 3}),
    ("timm", (48, 48), 1, "resnet18", {"window": [0.0, 4000.0]}),
    ("monai", (12, 20, 20), 1, "resnet10", {"window": [-20.0, 100.0], "spacing": [3.0, 2.0, 2.0]}),
    ("onnx", (40, 56), 3, "resnet10", {}),
]


def written_file(folder, format, space, c):
    """A file of another size: a photograph, a picture of 12 bits, a turned volume."""
    rng = np.random.default_rng(0)
    if len(space) == 3:
        import nibabel as nib

        x = rng.integers(-50, 150, (60, 64, 30)).astype(np.int16)
        nib.save(nib.Nifti1Image(x, np.diag([-1.5, 1.0, -3.0, 1])), folder / "a.nii.gz")
        return folder / "a.nii.gz"
    from PIL import Image

    if c == 1:
        x = rng.integers(0, 4096, (70, 111)).astype(np.uint16)
        Image.fromarray(x).save(folder / "a.png")
        return folder / "a.png"
    Image.fromarray(rng.integers(0, 256, (211, 160, 3), dtype=np.uint8)).save(folder / "a.jpg")
    return folder / "a.jpg"


@pytest.mark.parametrize("library, space, c, name, format", FILES, ids=str)
def test_from_a_file_on_disk_to_the_runs_features(
    library, space, c, name, format, make_run, monkeypatch, tmp_path
):
    """By the card's code alone, without assl_jax."""
    pytest.importorskip({"onnx": "onnxruntime"}.get(library, library))
    workdir, *_ = make_run(space, c, name=name, width=1.0, stem="imagenet", format=format)
    written = export(workdir, library)
    path = written_file(tmp_path, format, space, c)
    monkeypatch.chdir(written.network.parent)
    names: dict = {"images": np.zeros((1, c, *space), np.float32)}
    exec(code_of(written.card), names)
    batch = np.stack([names["preprocess"](path)])
    if library == "onnx":
        (found,) = names["session"].run(None, {"images": batch})
    else:
        found = outputs(names["net"], np.moveaxis(batch, 1, -1))
    intensity = load_intensity(workdir)
    reader = FileReader(
        shape=(*space, c),
        low=intensity.low,
        high=intensity.high,
        format=as_settings(format),
    )
    module, variables = load_backbone(workdir)
    inputs = intensity(reader.read(path)[None])
    close(found, jax.jit(module.apply)(variables, inputs)["pooled"], 1e-3)


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
    workdir, *_ = make_run(space, c, name=name, calibration=CALIBRATION, **settings)
    written = export(workdir, "onnx", network="rotation")
    monkeypatch.chdir(written.network.parent)
    x = images(space, c)
    names = {"images": np.moveaxis(x, -1, 1).copy()}
    exec(code_of(written.card), names)
    tolerance = 0.02 if settings.get("dtype") == "bfloat16" else 1e-4  # the graph is float32
    close(names["logits"], expected(workdir, "rotation", x), tolerance)
    one = names["session"].run(None, {"images": names["images"][:1]})[0]
    close(one, names["logits"][:1], 1e-5)


def torchvision_net(name):
    import torchvision

    return getattr(torchvision.models, {"vgg11": "vgg11_bn"}.get(name, name))()


def timm_net(name):
    import timm

    return timm.create_model(name)


def monai_net(name):
    """MONAI's network for volumes of one channel, with MedicalNet's stride of 2 in the stem."""
    from monai.networks import nets

    more = {"shortcut_type": "A"} if name.endswith("a") else {"bias_downsample": False}
    first = {"spatial_dims": 3, "n_input_channels": 1, "conv1_t_stride": 2, "num_classes": 2}
    return getattr(nets, name.removesuffix("a"))(**first, **more)


def renamed(arrays, prefix, **parts):
    """The arrays as another program stores them: behind a prefix, with other first parts."""
    pairs = ((name.split(".", 1), a) for name, a in arrays.items())
    return {prefix + ".".join([parts.get(first, first), *rest]): a for (first, *rest), a in pairs}


def moco(arrays, prefix):
    """A network, another one that follows it, and a queue."""
    followers = {name: np.asarray(a + 1) for name, a in arrays.items()}
    own, others = renamed(arrays, f"{prefix}encoder_q."), renamed(followers, f"{prefix}encoder_k.")
    return own | others | {f"{prefix}queue": np.zeros((4, 8), np.float32)}


def numbered(arrays, prefix):
    parts = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    return renamed(arrays, prefix, **dict(zip(parts, "014567", strict=True)))


FILES = {
    "MoCo": (torchvision_net, "resnet50", (64, 64, 3), moco, "module."),
    "RadImageNet, numbers": (torchvision_net, "resnet50", (64, 64, 3), numbered, "backbone."),
    "DINO's teacher, timm": (timm_net, "resnet50", (64, 96, 3), renamed, "teacher.backbone."),
    "DDP": (torchvision_net, "resnet34", (64, 80, 3), renamed, "module."),
    "VGG": (torchvision_net, "vgg11", (64, 64, 3), renamed, "_orig_mod."),
    "MedicalNet's shortcut A": (monai_net, "resnet18a", (64, 64, 80, 1), renamed, "module."),
    "MONAI, bottlenecks": (monai_net, "resnet50", (64, 64, 64, 1), renamed, "model.encoder."),
}


def moved(net):
    """The network with statistics and biases that are not the default ones."""
    import torch

    for module in net.modules():
        if hasattr(module, "running_mean"):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if hasattr(module, "kernel_size") and getattr(module, "bias", None) is not None:
            torch.nn.init.normal_(module.bias, std=0.1)
    return net.eval()


@pytest.mark.parametrize("words", FILES)
def test_a_file_of_another_program_gives_its_features(words, tmp_path):
    for package in ("torchvision", "timm", "monai"):
        pytest.importorskip(package)
    from safetensors.numpy import save_file

    build, name, (*space, c), stored, prefix = FILES[words]
    net = moved(build(name))
    arrays = {key: a.numpy() for key, a in net.state_dict().items()}
    save_file(stored(arrays, prefix), tmp_path / "w.safetensors")
    backbone = make_backbone(name)
    variables = read_start(tmp_path / "w.safetensors", backbone, rank=len(space), channels=c)
    x = images(space, c)
    maps = []
    last = net.features[-2] if name == "vgg11" else net.layer4
    last.register_forward_hook(lambda *seen: maps.append(seen[-1]))
    outputs(net, x)
    pooled = maps[0].numpy().mean(axis=tuple(range(2, 2 + len(space))))
    close(pooled, jax.jit(backbone.apply)(variables, jnp.asarray(x))["pooled"])


def test_the_command_of_the_message_converts_a_checkpoint(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchvision")

    net = torchvision_net("resnet18").to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.zeros(2, 3, 64, 64)).sum().backward()
    optimiser.step()
    state = renamed(net.state_dict(), "module.encoder_q.")
    checkpoint = {"epoch": 3, "state_dict": state, "optimizer": optimiser.state_dict()}
    torch.save(checkpoint, tmp_path / "w.pth.tar")
    given = {"backbone": make_backbone("resnet18"), "rank": 2, "channels": 3}
    with pytest.raises(InputError) as error:
        read_start(tmp_path / "w.pth.tar", **given)
    code = str(error.value).partition('python -c "')[2].removesuffix('"')
    subprocess.run([sys.executable, "-c", code], check=True)
    variables = read_start(tmp_path / "w.pth.safetensors", **given)
    kernel = variables["params"]["stem_conv"]["kernel"]
    np.testing.assert_array_equal(kernel[1, 2, 0], net.conv1.weight.detach().numpy()[:, 0, 1, 2])


def close(found, wanted, tolerance=1e-4):
    """Equal up to `tolerance`, relative to the largest output where that is above 1."""
    wanted = np.asarray(wanted)
    scale = max(1.0, float(np.abs(wanted).max()))
    difference = float(np.abs(found - wanted).max())
    if os.environ.get("SHOW_DIFFERENCES"):
        print(f"\nlargest difference {difference:.1e}, largest output {scale:.1f}")
    assert difference <= tolerance * scale
