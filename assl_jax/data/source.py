"""`Source`, from which every data source derives, and the settings that several share."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

from assl_jax.data.dataset import Dataset
from assl_jax.ranges import Range, check

LARGEST_SIDE = 8192  # pixels or voxels; a larger image does not fit into a network
Labels = Annotated[int, Range(at_least=0)]  # 0 takes all
TestFraction = Annotated[float, Range(above=0, below=1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """The settings of a data source, and how they become a `Dataset`.

    The fields of a source are the settings `data.*`. A list, as JSON has it, becomes a tuple.

    Raises:
      InputError: a setting that its field does not allow.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, tuple) and isinstance(value, list):
                object.__setattr__(self, field.name, tuple(value))
        check(self, "data.")

    def load(self) -> Dataset:
        """Read or generate the data set.

        Raises:
          InputError: what the source finds wrong with its files.
        """
        raise NotImplementedError


@functools.cache
def from_function(function: Callable[..., Dataset]) -> type[Source]:
    """The source whose settings are the keyword arguments of a function."""
    hints = inspect.get_annotations(function)
    arguments = inspect.signature(function).parameters.values()
    kind = dataclasses.make_dataclass(
        getattr(function, "__name__", "source"),
        [(p.name, hints.get(p.name, Any), p.default) for p in arguments],
        bases=(Source,),
        namespace={"load": lambda self: function(**vars(self))},
        frozen=True,
        kw_only=True,
    )
    kind.__doc__, kind.__module__ = function.__doc__, function.__module__
    return kind
