"""Reading and writing records; names and version of the files."""

from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from assl_jax import files
from assl_jax.errors import InputError, Unusable

VERSION = 2  # of all files below; raise it when a field changes its meaning

RESULTS = "results.json"
CONFIG = "config.json"
ENVIRONMENT = "environment.json"
DONE = "done.json"
BACKBONE = "backbone.json"
MODEL = "model.json"
PROBES = "probes.json"
DIGEST = "digest"  # key of a file's digest
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what decoding raises
REPEAT = "repeat the command that wrote it"  # what to do about a damaged file
BACKBONE_FOLDER = "backbone"  # with BACKBONE and the weights, in a workdir or a stage
MODEL_FOLDER = "model"  # with MODEL and the weights, in a stage

Pool = tuple[str, ...]  # names of proxy tasks
T = TypeVar("T")


class Record(msgspec.Struct, frozen=True):
    """Named values, read only."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)


def read(path: str | Path, kind: type[T]) -> T:
    """Read a record.

    Args:
      path: of the file, such as `results.json`.
      kind: the type of the record, such as `Results`.

    Raises:
      Unusable: a file that is damaged or truncated, or of another version.
      InputError: no such file, or one that cannot be read.
    """
    path = Path(path)
    content = _content(path)
    try:
        version = msgspec.json.decode(content, type=_Versioned).version
        if version != VERSION:
            raise Unusable(
                f"{path} has format version {version}, this program reads version {VERSION}; "
                f"{REPEAT}"
            )
        found = msgspec.json.decode(content, type=kind)
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    _unsealed(path, content)
    return found


def encode(record: Record | dict[str, Any]) -> bytes:
    """A record, or nested settings, as indented JSON with a digest of itself as its last entry."""
    content = msgspec.json.encode(record)
    tree = msgspec.json.decode(content) | {DIGEST: files.content_digest(content)}
    return msgspec.json.format(msgspec.json.encode(tree)) + b"\n"


def write(path: str | Path, record: Record | dict[str, Any]) -> None:
    """Write what `encode` gives, atomically."""
    files.write_bytes(Path(path), encode(record))


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read a file of nested settings, `config.json` or `environment.json`; lists become tuples.

    Raises:
      InputError: as `read`.
    """
    path = Path(path)
    tree = _unsealed(path, _content(path))
    try:
        return as_settings(tree)
    except RecursionError as error:
        raise _damaged(path, error) from error


def as_settings(tree: Any) -> Any:
    """Nested settings as they come back from JSON: every list is a tuple."""
    if isinstance(tree, dict):
        return {key: as_settings(value) for key, value in tree.items()}
    return tuple(map(as_settings, tree)) if isinstance(tree, list | tuple) else tree


def flat_settings(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level with dotted names: `{"a": {"b": 1}}` becomes `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        nested = isinstance(value, dict) and value
        flat |= flat_settings(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


class _Versioned(msgspec.Struct):
    version: int = 0


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; run it first") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _unsealed(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON object without its digest, unchanged; one without a digest may be a user's."""
    try:
        tree = msgspec.json.decode(content)
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    if not isinstance(tree, dict):
        raise Unusable(f"{path} holds no JSON object; {REPEAT}")
    known = tree.pop(DIGEST, None)
    if known is not None and known != files.content_digest(msgspec.json.encode(tree)):
        raise _damaged(path, "its content is not that of its digest")
    return tree


def _damaged(path: Path, reason: object) -> Unusable:
    return Unusable(f"{path} is damaged ({' '.join(str(reason).split())}); {REPEAT}")
