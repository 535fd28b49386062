"""The folder of a run: whose it is, and what a new one takes over."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from assl_jax import records
from assl_jax.config import base_config
from assl_jax.config_reading import without_gone
from assl_jax.console import say
from assl_jax.environment import environment
from assl_jax.errors import InputError, Unusable, require
from assl_jax.files import LOCK, waiting_lock
from assl_jax.training.processes import is_primary

# Settings, and what is computed again when they change.
CHANGES = {
    **dict.fromkeys(("experiment", "tasks", "search.", "images_on", "keep_compiled"), ""),
    **dict.fromkeys(("checkpoint_", "log_every", "log_to", "pretrain.seeds"), ""),
    "init.": "the pretrainings",
    **dict.fromkeys(("target.", "data.labels"), "the fine-tunings"),
    "similarity.": "the comparisons of features",
    "self_assl.": "the second trainings",
    **dict.fromkeys(("distil.", "pretrain.mixing", "pretrain.budget"), "the pools"),
}
BUDGET = "search.budget"


def reuse(changed: Iterable[str]) -> str:
    """Which finished work a run in a new folder takes over, next to the same stages.

    `changed` are the settings that differ, as in "target.steps".
    """
    again = set()
    for key in changed:
        start = next((start for start in CHANGES if key.startswith(start)), None)
        if key.startswith("task."):
            again.add(f"the networks of {key.split('.')[1]}")
        elif start is None:
            return f"A new workdir beside it takes over the stages that {key} does not change"
        else:
            again.add(CHANGES[start])
    words = ", ".join(sorted(again - {""}))
    rest = f"all but {words}" if words else "all of it that the new config needs"
    return f"A new workdir beside it takes over the finished stages: {rest}"


def check_workdir(workdir: Path, stages: Path, settings: dict[str, Any]) -> None:
    """Refuse what is no folder, and a workdir that holds the run of another config.

    A setting that the earlier version did not have counts with its default, and a budget as the
    run recorded it.
    """
    for flag, folder in (("stages", stages), ("workdir", workdir)):
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        require(there.is_dir(), f"--{flag}={folder}: {there} is not a folder; choose another")
    saved = _saved(workdir)
    if saved is None:
        return
    old, new = without_gone(saved), records.flat_settings(settings)
    new |= {BUDGET: recorded_budget(workdir, new[BUDGET])}
    default = records.flat_settings(base_config(new["data.name"]).to_dict())
    changed = [key for key in old | new if old.get(key, default.get(key)) != new.get(key)]
    more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
    require(
        not changed,
        f"{workdir} holds a run with another config (different: {', '.join(changed[:4])}{more}); "
        f"use another --workdir, or delete it. {reuse(changed)}",
    )


def recorded_budget(workdir: Path, budget: str) -> str:
    """A budget as the run in a workdir has recorded it, minutes as compute; without one, as it is.

    What is recorded as "12.3 TFLOP (30 min)" can be given as "30 min" or as "12.3 TFLOP".
    """
    recorded = str(records.flat_settings(_saved(workdir) or {}).get(BUDGET, ""))
    return recorded if budget.strip() in recorded.rstrip(")").split(" (") else budget


def _saved(workdir: Path) -> dict[str, Any] | None:
    """The settings of the run in a workdir; None without one, or if its `config.json` is damaged.

    A damaged one in a folder that may be another program's raises.
    """
    config = workdir / records.CONFIG
    if not config.exists():
        return None
    try:
        return records.read_settings(config)
    except Unusable:
        if not any((workdir / name).exists() for name in (records.ENVIRONMENT, records.RESULTS)):
            raise
        return None


def _readable(path: Path) -> bool:
    try:
        records.read_settings(path)
    except InputError:
        return False
    return True


def _write(workdir: Path, settings: dict[str, Any]) -> None:
    began = any((workdir / name).exists() for name in (records.CONFIG, records.RESULTS))
    for name, content in ((records.ENVIRONMENT, environment), (records.CONFIG, settings.copy)):
        if not _readable(workdir / name):
            if began:
                say(f"{workdir / name} is damaged or missing; it is written anew")
            records.write(workdir / name, content())


def begin(workdir: Path, stages: Path, settings: dict[str, Any]) -> None:
    """Write what identifies the run, in the primary process; nothing was written before."""
    if not is_primary():
        return
    flag, folder = "stages", stages
    try:
        stages.mkdir(parents=True, exist_ok=True)
        flag, folder = "workdir", workdir
        workdir.mkdir(parents=True, exist_ok=True)
        with waiting_lock(workdir / LOCK):  # of two runs that begin here, one writes
            _write(workdir, settings)
    except (PermissionError, NotADirectoryError) as error:
        raise InputError(f"--{flag}={folder} cannot be written to; choose another") from error
