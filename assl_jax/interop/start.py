"""Weights that a user brings, read from a run or from a file."""

import dataclasses
import re
from collections.abc import Collection
from pathlib import Path

import flax.linen as nn

from assl_jax import records
from assl_jax.data.settings import expanded
from assl_jax.errors import require
from assl_jax.evaluation.export import load_backbone
from assl_jax.interop.tensors import read_record, read_tensors
from assl_jax.interop.weights import Variables, fit, to_own
from assl_jax.tasks import describe

TEACHERS = "distil.teachers"  # the setting
CHOOSE = "name a run, a pretraining stage or a .safetensors file"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InitSettings:
    """The weights that every pretraining starts from.

    Attributes:
      path: a finished run, or a safetensors file with a network in the names of torchvision, timm
        or MONAI, see `interop.start`; "" draws random weights.
    """

    path: str = ""


def read_start(
    path: str | Path, backbone: nn.Module, *, rank: int, channels: int, setting: str = "init.path"
) -> Variables:
    """The weights of a run or of a file, in the shapes of `backbone`; see `weights.fit`.

    Args:
      path: a workdir, a pretraining stage, or a `.safetensors` file with the names of torchvision,
        timm or MONAI, or with our own.
      backbone: the network that they are for.
      rank, channels: of the images.
      setting: that names the path, for messages.
    """
    path = expanded(str(path), setting)
    require(path.exists(), f"{setting}={path} does not exist; {CHOOSE}")
    arrays = to_own(load_backbone(path)[1]) if path.is_dir() else read_tensors(path)
    return fit(arrays, backbone, rank=rank, channels=channels, source=f"{setting}={path}")


def describe_start(path: str | Path) -> records.StartWeights:
    """What the weights are that `read_start` reads, as far as the run, stage or file says."""
    path = expanded(str(path), "init.path").resolve()
    network: records.Network | None = None
    title, flops = "", None
    if path.is_file():
        title = str(read_record(path).get("network", ""))
    elif (path / records.RESULTS).exists():
        results = records.read(path / records.RESULTS, records.Results)
        kept = results.kept
        network = kept.network if kept else results.pretrained
        flops = kept.flops if kept else None
    elif (path / records.DONE).exists():
        stage = records.read(path / records.DONE, records.StageRecord)
        network = stage.network
        if isinstance(stage.result, records.Pretrained) and not network.parents:
            flops = stage.result.flops  # that of a pool is only a part
    if network:
        title = network.title(lambda name: describe(name).title)
    return records.StartWeights(source=path.name, title=title, flops=flops)


def teacher_paths(setting: str, taken: Collection[str]) -> dict[str, Path]:
    """The paths of teachers by name.

    Args:
      setting: `NAME=PATH` or `PATH`, separated by commas. A path without a name has that of its
        file or folder, with "_" for what is neither a letter, a digit nor "_".
      taken: the names that mean something else.
    """
    found: dict[str, Path] = {}
    for entry in filter(None, map(str.strip, setting.split(","))):
        name, named, text = entry.partition("=")
        if not named or "/" in name:  # the equals sign, if any, belongs to the path
            name, named, text = "", "", entry
        path = expanded(text, TEACHERS)
        require(path.exists(), f"{TEACHERS}: {text!r} does not exist; {CHOOSE}")
        whole = path.resolve()
        name = name if named else re.sub(r"\W", "_", whole.stem if path.is_file() else whole.name)
        for fits, wrong in (
            (re.fullmatch(r"\w+", name), f"the name {name!r} may have letters, digits and _ only"),
            (name not in taken, f"the name {name!r} means something else"),
            (name not in found, f"two teachers are called {name!r}"),
        ):
            example = f"name it as in {TEACHERS}=my_teacher={text}"
            require(bool(fits), f"{TEACHERS}: {wrong}; {example}")
        found[name] = path
    return found
