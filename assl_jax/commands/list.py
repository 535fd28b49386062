"""What there is: configs, tasks, data sources, backbones.

assl-jax list
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from assl_jax import data, models, plugins, tasks
from assl_jax.command_line import Options
from assl_jax.config_files import describe, own_configs
from assl_jax.docstrings import sentence
from assl_jax.errors import InputError


def main(argv: list[str]) -> None:
    """The command."""
    Options(
        "list", description="List configs, proxy tasks, data sources and backbones."
    ).parse_args(argv)
    configs = own_configs()
    sections: dict[str, tuple[Iterable[str], Callable[[str], str]]] = {
        "Configs (assl-jax run NAME)": (configs, lambda name: describe(configs[name])),
        "Proxy tasks (--config.tasks=NAME,NAME)": (_all(tasks.TASKS, tasks.GROUP), _task),
        "Data sources (--config.data.name=NAME)": (
            _all(data.SOURCES, data.GROUP),
            lambda name: sentence(data.source_of(name).__doc__),
        ),
        "Backbones (--config.backbone.name=NAME)": (_all(models.BACKBONES, models.GROUP), _network),
    }
    for title, (names, say) in sections.items():
        print(f"{title}\n" + "\n".join(f"  {name:<20}{_safe(say, name)}" for name in names) + "\n")
    print("A task, source or backbone of your own is `module:Class`.")


def _all(table: Mapping[str, Any], group: str) -> list[str]:
    """The names of this package and of others."""
    return [*table, *(name for name in plugins.entry_points(group) if name not in table)]


def _task(name: str) -> str:
    return sentence(tasks.task_class(name).__doc__)


def _network(name: str) -> str:
    entry = models.backbone_entry(name)
    return f"{entry.title}. {sentence(entry.module.__doc__)}"


def _safe(say: Callable[[str], str], name: str) -> str:
    """A sentence, or what is wrong with another package."""
    try:
        return say(name)
    except InputError as error:
        return str(error)
