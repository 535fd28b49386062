"""What a run has read, as it says so before training."""

from typing import Any

from assl_jax.records.base import Record


class Split(Record, frozen=True, kw_only=True):
    """One part of the images.

    Attributes:
      images: their number.
      patients: the number of patients; None where patients are not known.
      classes: the number of images of each class; empty where labels are not used.
    """

    images: int
    patients: int | None = None
    classes: dict[str, int] = {}


class DataSummary(Record, frozen=True, kw_only=True):
    """The images of a run.

    Attributes:
      name: of the data source.
      shape: `(*space, c)` of an image.
      dtype: of the stored integers.
      splits: by name; an image may be in "unlabeled" and in "labelled".
      skipped: files that were left out, with reasons.
      notes: how the images were read, a sentence each.
      odd: what looks wrong with the images, a sentence each.
      format: how files became images, see `data.file_reader.FileReader`; empty for arrays, and in a
        file of an earlier version.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    splits: dict[str, Split]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    format: dict[str, Any] = {}
