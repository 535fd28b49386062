"""`Source`, from which every data source derives, and the settings that several share."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

from assl_jax.data.dataset import Dataset
from assl_jax.ranges import OneOf, Range, Seed, check

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListedSource(Source):
    """A source of files that folders or a table list.

    Attributes:
      path: the folder.
      csv: a table, relative to the folder.
      columns: the table's own names of its columns, such as "path=image_id,label=dx". A label from
        several columns, of which one is 1 in every row, is "label=mel+nv"; "label=folders" takes
        the class folders.
      patient: a regular expression that finds the patient in every file's path; its first group, or
        the whole match. No patient may be on both sides of a split. Without it, and without a
        column, the PatientID of DICOM files counts.
      labels: size of the labelled training set, drawn evenly from the classes; 0 takes all.
      test_fraction: share of every class's files (or patients) that become test files if there are
        none. A hash of the name decides, so that a new file moves no other; at least one goes to
        each side.
      val: what validation files are: "train" (the search cross-validates inside the training
        files), "unlabeled", "test", or "ignore".
      on_error: "raise", or "skip" to leave out files that cannot be used.
      cache: folder that keeps the decoded files for the next run; "" holds them in memory.
      seed: draws the split and the labelled set.
    """

    path: str = ""
    csv: str = ""
    columns: str = ""
    patient: str = ""
    labels: Labels = 0
    test_fraction: TestFraction = 0.2
    val: Annotated[str, OneOf(("train", "unlabeled", "test", "ignore"))] = "train"
    on_error: Annotated[str, OneOf(("raise", "skip"))] = "raise"
    cache: str = ""
    seed: Seed = 0


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
