"""Text files that are replaced as a whole, so that a reader never sees half of one."""

import os
from collections.abc import Mapping
from pathlib import Path

PAGE = "index.html"


def write_files(folder: Path, texts: Mapping[str, str]) -> Path:
    """Write each text under its name into `folder`, which is created when missing.

    Returns:
      The path of the page among them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        _replace(folder / name, text)
    return folder / PAGE


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
