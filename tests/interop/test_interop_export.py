"""The files of an export: what lies on disk, and what the model card says."""

import functools
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from networks import network_of

from assl_jax import records
from assl_jax.commands import export as command
from assl_jax.errors import InputError
from assl_jax.files import write_json
from assl_jax.interop.export import export
from assl_jax.interop.onnx_graph import make_model
from assl_jax.interop.start import read_start
from assl_jax.records import SCRATCH, Calibration, Network, Results, StageRecord, StartWeights

safetensors = pytest.importorskip("safetensors.numpy")


@pytest.mark.slow
def test_weights_with_their_record_and_card(make_run, capsys):
    workdir, module, variables, head = make_run(width=1.0)
    options = ["--format=torchvision", "--network=rotation", "--licence=CC-BY-4.0"]
    command.main([str(workdir), *options])
    network, described, card = capsys.readouterr().out.split()
    assert network.endswith("export/rotation.finetuned.torchvision.safetensors")
    back = read_start(network, module, rank=2, channels=1)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    arrays = safetensors.load_file(network)
    np.testing.assert_array_equal(arrays["fc.weight"], head["kernel"].T)
    np.testing.assert_array_equal(arrays["fc.bias"], head["bias"])
    with safetensors.safe_open(network, "numpy") as file:
        record = json.loads(file.metadata()["assl_jax"])
    assert record["classes"] == ["cat", "dog", "owl"] and record["pool"] == ["rotation"]
    assert record["backbone"]["stem"] == "half" and record["intensity"]["high"] == 16.0
    expected = json.loads(Path(described).read_text())
    assert record["preprocessing"] == expected
    assert expected["layout"] == "NCHW" and expected["shape"] == ["batch", 1, 16, 16]
    text = Path(card).read_text()
    for line in (
        "| Licence | CC-BY-4.0 |",
        "| Data | digits |",
        "| Proxy tasks | Rotation |",
        "| Pretraining | 4,321 steps of 32 images |",
        "| accuracy | 87.5 ± 17.7 % | 50.0 ± 1.2 % |",
        "| log loss | 0.780 ± 0.123 | 0.250 ± 0.010 |",  # 9/8 ln 2, and 1/4 ln 2 / sqrt(2)
        "x = clip((x - 0) / (16 - 0), 0, 1)",
        "`main.py --config=c.py`",
        "0: cat, 1: dog, 2: owl",
        "net.maxpool = torch.nn.Identity()",
    ):
        assert line in text, line


@pytest.mark.parametrize("raw", [False, True])
def test_a_head_is_divided_by_its_temperature(make_run, raw):
    workdir, *_, head = make_run(calibration=Calibration(temperature=2.5))
    written = export(workdir, "safetensors", network="rotation", raw=raw)
    arrays = safetensors.load_file(written.network)
    for name in ("kernel", "bias"):
        wanted = head[name] if raw else head[name] / np.float32(2.5)
        np.testing.assert_array_equal(arrays[f"head.{name}"], wanted)
    described = json.loads(written.preprocessing.read_text())
    assert described["temperature"] == (None if raw else 2.5)
    card = written.card.read_text()
    assert ("divided by the temperature 2.5, fitted to out-of-fold" in card) != raw
    assert ("often far too sure" in card) == ("--network=rotation --raw`" in card) == raw
    # A backbone alone has no probabilities.
    alone = export(workdir, "safetensors", force=True)
    assert "temperature" not in json.loads(alone.preprocessing.read_text())
    assert "Probabilities" not in alone.card.read_text()


def test_the_card_says_how_files_were_read(make_run):
    workdir, *_ = make_run(space=(16, 16), c=3, format={"side": 16, "window": [0.0, 200.0]})
    written = export(workdir, "safetensors")
    described = json.loads(written.preprocessing.read_text())
    assert described["file"] == {
        "kind": "image",
        "filter": "linear, antialiased",
        "side": 16,
        "channels": 3,
        "window": [0.0, 200.0],
        "pages": "one",
        "alpha": "white",
    }
    card = written.card.read_text()
    assert "Resize the shorter side to 16 pixels (linear, antialiased) and cut out" in card
    assert f"```python\n{described['code']}\n```" in card
    assert "np.stack([preprocess(path) for path in paths])" in card.split("## Loading")[0]
    assert "A DICOM image, which the code does not read: apply its rescale slope and" in card
    assert "intercept; map 0 to 200 to 0 to 255; invert MONOCHROME1." in card
    assert "an image that Pillow opens, which is no DICOM" in described["code"]


def test_no_file_can_be_an_image_of_five_channels(make_run):
    workdir, *_ = make_run(space=(16, 16), c=5)
    written = export(workdir, "safetensors")
    described = json.loads(written.preprocessing.read_text())
    assert described["file"] == {} and "def preprocess" not in described["code"]
    assert "np.stack([normalise(array) for array in arrays])" in written.card.read_text()


def test_the_card_of_a_teacher_names_no_pretraining(make_run, tmp_path):
    workdir, *_ = make_run()
    stage = workdir / "stages" / "pretrain-rotation-1-2" / records.DONE
    given = records.read(stage, StageRecord).replace(
        kind="given", network=Network(given="rotation"), settings={}
    )
    records.write(stage, given)
    config = records.read_settings(workdir / records.CONFIG)
    write_json(workdir / records.CONFIG, config | {"distil": {"teachers": "rotation=w"}})
    text = export(workdir, "safetensors", out=tmp_path / "out").card.read_text()
    assert "| Pretraining | none |" in text and "| Teachers | rotation=w |" in text


def test_a_backbone_in_our_own_names(make_run, tmp_path):
    workdir, module, variables, _ = make_run()
    written = export(workdir, "safetensors", out=tmp_path / "out")
    assert written.network.name == "rotation.safetensors"
    back = read_start(written.network, module, rank=2, channels=1)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    assert "not stated" in written.card.read_text()
    assert json.loads(written.preprocessing.read_text())["layout"] == "NHWC"


def test_an_older_export_stays(make_run, tmp_path):
    """The backbone and the fine-tuned network of one label have names of their own."""
    workdir, *_ = make_run()
    same = [str(workdir), "--format=safetensors", f"--out={tmp_path / 'out'}"]
    for _ in range(2):  # the second time the same files
        command.main(same)
    before = {file: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    command.main([*same, "--network=rotation"])
    new = {file.name for file in (tmp_path / "out").iterdir()} - {file.name for file in before}
    assert new == {f"rotation.finetuned.safetensors{end}" for end in ("", ".json", ".md")}
    with pytest.raises(InputError, match="holds something else; --force replaces it"):
        command.main([*same, "--licence=MIT"])
    assert {file: file.read_bytes() for file in before} == before
    command.main([*same, "--licence=MIT", "--force"])
    after = {file.name for file, content in before.items() if file.read_bytes() != content}
    assert after == {"rotation.safetensors.md"}


@pytest.mark.parametrize(
    "network, library, says",
    [
        ({}, "timm", "no backbone.width=0.0625; use --format=monai, safetensors or onnx"),
        ({"space": (8, 16, 16)}, "torchvision", "torchvision has no networks for volumes; use"),
        ({"name": "resnet10a", "width": 1.0}, "timm", "no shortcut A; use --format=monai"),
    ],
    ids=["width", "volumes", "shortcut"],
)
def test_what_a_library_lacks(make_run, network, library, says):
    workdir, *_ = make_run(**network)
    with pytest.raises(InputError, match=re.escape(says)):
        command.main([str(workdir), f"--format={library}"])
    assert not (workdir / "export").exists()
    command.main([str(workdir), "--format=monai"])


def test_shortcut_a_in_monai(make_run):
    """The map of the short axis is not halved in every stage, and the card says so."""
    workdir, *_ = make_run(space=(12, 32), name="resnet10a", width=1.0)
    command.main([str(workdir), "--format=monai"])
    card = (workdir / "export" / "rotation.monai.safetensors.md").read_text()
    assert "shortcut_type='A'," in card
    block = "net.layer4[0]"
    strides = f'{block}.conv1.stride = {block}.downsample.keywords["stride"] = (1, 2)'
    assert strides in card


def test_a_second_run_has_its_own_name_and_steps(make_run, tmp_path):
    workdir, *_ = make_run()
    results = records.read(workdir / "results.json", Results)
    (network,) = results.networks
    again = network.replace(label="rotation.second_run", network=network_of("rotation.second_run"))
    best = results.best.replace(network=again.network)
    changed = results.replace(networks=(network, again), best=best)
    records.write(workdir / "results.json", changed)
    written = export(workdir, "safetensors", out=tmp_path / "out")
    assert written.network.name == "rotation.second_run.safetensors"
    assert "4,321 steps of 32 images" in written.card.read_text()
    records.write(workdir / "results.json", changed.replace(images=None))
    with pytest.raises(InputError, match="of an earlier version; run the same command again"):
        export(workdir, "safetensors", out=tmp_path / "out")


def test_the_card_says_what_was_not_pretrained_here(make_run, tmp_path):
    workdir, *_ = make_run()
    results = records.read(workdir / "results.json", Results)
    (network,) = results.networks
    alone = [
        network.replace(label=label, network=network_of(label)) for label in ("scratch", "start")
    ]
    given = StartWeights(source="photos", title="SimCLR", flops=3.25e12)
    best = results.best.replace(network=SCRATCH)
    changed = results.replace(networks=tuple(alone), best=best, start_weights=given)
    records.write(workdir / "results.json", changed)

    def card(name):
        return export(workdir, "safetensors", network=name, out=tmp_path / name).card.read_text()

    scratch, start = map(card, ("scratch", "start"))
    assert "| Proxy tasks | none (the run found nothing better than no pretraining) |" in scratch
    assert "| Start weights | random |" in scratch
    assert "| Metric | scratch |\n" in scratch and "| Metric | start | From scratch |\n" in start
    assert "| Proxy tasks | those of the start weights |" in start
    assert "| Start weights | SimCLR of photos, 3.2 TFLOP of pretraining |" in start


def test_dilation_arrives_in_a_graph_or_is_refused():
    pytest.importorskip("onnx")
    kernel = np.ones((3, 3, 1, 2), np.float32)

    def network(x, **dilation):
        layout = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=layout, **dilation
        )
        return [y.mean((1, 2))]

    dilated = functools.partial(network, rhs_dilation=(2, 2))
    model = make_model(dilated, (8, 8, 1), ["features"])
    (convolution,) = [node for node in model.graph.node if node.op_type == "Conv"]
    attributes = {a.name: list(a.ints) for a in convolution.attribute if a.ints}
    assert attributes["dilations"] == [2, 2]
    transposed = functools.partial(network, lhs_dilation=(2, 2))
    with pytest.raises(InputError, match="transposed convolution cannot be exported"):
        make_model(transposed, (8, 8, 1), ["features"])
