"""Weights to start from, and teachers, that a run refuses."""

import json
import os
import struct

import jax
import jax.numpy as jnp
import numpy as np

from assl_jax.files import write_json
from assl_jax.interop.tensors import encode_tensors
from assl_jax.interop.weights import to_own
from assl_jax.models import make_backbone

TOPIC = "Weights and teachers"
COMMAND = (
    *("run", "mtassl_digits", "--workdir=FOLDER/work", "--config.data.side=16"),
    *("--config.backbone.name=resnet10", "--config.backbone.width=0.0625"),
    *("--config.backbone.stem=half", "--config.pretrain.batch_size=8"),
    *("--config.target.batch_size=8", "--config.tasks=rotation", "--noconfig.keep_compiled"),
)
BACKBONE = {"name": "resnet10", "width": 1 / 16, "stem": "half"}


def weights(**changes):
    """The arrays of a network, zeros; `changes` are settings of `make_backbone`."""
    module = make_backbone(**BACKBONE | changes)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    return to_own(jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes))


def save(file, found):
    file.write_bytes(encode_tensors(found, {}))


def case(make, *settings, name="w.safetensors"):
    """`make` writes the file; `settings` name it, by default as `init.path`."""
    given = settings or (f"init.path=FOLDER/{name}",)

    def build(folder):
        make(folder / name)
        return [*COMMAND, *(f"--config.{each}" for each in given)]

    return build


def good(file):
    save(file, weights())


def arrays(change):
    """Good weights after `change`, which gets the arrays."""

    def make(file):
        found = weights()
        change(found)
        save(file, found)

    return make


def header(size, text=b"{}"):
    """A file that says its header has `size` bytes."""
    return lambda file: file.write_bytes(struct.pack("<Q", size) + text)


def claim(file):
    """A file whose header tells of 4 TB."""
    text = json.dumps({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}})
    header(len(text), text.encode())(file)


def first(found):
    return min(name for name in found if name.endswith("kernel"))


def teacher(text, *settings):
    return case(good, f"distil.teachers={text}", *settings)


def empty_run(file):
    file.mkdir()


def stage_of_another_program(file):
    (file / "backbone").mkdir(parents=True)
    write_json(file / "backbone" / "backbone.json", {"version": 99})


HERE = "FOLDER/w.safetensors"
CASES = {
    "a path that is not there": case(good, "init.path=FOLDER/nowhere"),
    "a home folder of nobody": case(good, "init.path=~nobody9/run"),
    "a folder without a run": case(empty_run, name="run"),
    "a run of a later version": case(stage_of_another_program, name="run"),
    "a file of `torch.save`": case(lambda file: file.write_bytes(b"PK\x03\x04"), name="w.pth"),
    "an empty file": case(lambda file: file.touch()),
    "a pipe": case(os.mkfifo),
    "a text": case(lambda file: file.write_text("no weights")),
    "a file that is cut off": case(
        lambda file: (good(file), file.write_bytes(file.read_bytes()[:-9]))
    ),
    "a header of 16 EB": case(header(2**64 - 1)),
    "a header that is no JSON": case(header(2, b"{[")),
    "arrays of 4 TB": case(claim),
    "no arrays": case(lambda file: save(file, {})),
    "weights of a wider network": case(lambda file: save(file, weights(width=1 / 8))),
    "weights of a deeper network": case(lambda file: save(file, weights(name="resnet18"))),
    "weights of another kind of network": case(lambda file: save(file, weights(name="vgg11"))),
    "an array that is missing": case(arrays(lambda found: found.pop(first(found)))),
    "an array of another shape": case(
        arrays(lambda found: found.update({first(found): np.zeros((2, 2), np.float32)}))
    ),
    "two networks in one file": case(
        lambda file: save(
            file,
            {
                f"{side}.{name}": array + i
                for i, side in enumerate(("left", "right"))
                for name, array in weights().items()
            },
        )
    ),
    "weights with NaN": case(arrays(lambda found: found[first(found)].fill(np.nan))),
    "weights of PyTorch's names for a network of your own": case(
        lambda file: save(file, {"conv1.weight": np.zeros((4, 1, 3, 3), "f4")}),
        f"init.path={HERE}",
        "backbone.name=tinynet:TinyNet",
        "backbone.stem=imagenet",
        "backbone.width=1",
    ),
    "a teacher that is not there": teacher("a=nowhere.safetensors"),
    "a teacher in a home folder of nobody": teacher("a=~nobody9/x"),
    "a teacher with the name of a task": teacher(f"simclr={HERE}"),
    "a teacher with the name of a row of the tables": teacher(f"scratch={HERE}"),
    "two teachers of one name": teacher(f"a={HERE},a={HERE}"),
    "one teacher twice": teacher(f"{HERE},{HERE}"),
    "a teacher's name with a sign": teacher(f"a+b={HERE}"),
    "a teacher in a table of pairs": teacher(f"a={HERE}", "experiment=pairs", "tasks=src,rotation"),
    "a teacher of a fine-tuning": teacher(f"a={HERE}", "experiment=finetune", f"init.path={HERE}"),
    "a teacher of a pool that is trained jointly": teacher(f"a={HERE}", "pretrain.mixing=joint"),
    "a teacher by the paper's rules": teacher(f"a={HERE}", "search.as_printed=True"),
    "a teacher that is another network": case(
        lambda file: save(file, {}), f"distil.teachers=a={HERE}"
    ),
}


def test_the_message(row, check):
    check(TOPIC, row, CASES[row])
