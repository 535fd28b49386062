"""What there is: configs, tasks, data sources, backbones; and every setting.

assl-jax list [--settings]
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from assl_jax import data, models, plugins, tasks
from assl_jax.command_line import Options, written
from assl_jax.config import RunConfig, groups
from assl_jax.config_files import describe, own_configs
from assl_jax.docstrings import sentence
from assl_jax.errors import InputError
from assl_jax.groups import Setting, settings
from assl_jax.ranges import Range

INTRODUCTION = """# Settings

Every setting of a config, as `assl-jax list --settings` prints it. `--config.seed=1` sets one on
the command line, `config.seed = 1` in a config file. `data.name` chooses the source of the data,
which has the settings of its own section.
"""


def main(argv: list[str]) -> None:
    """The command."""
    parser = Options("list", description="List configs, proxy tasks, data sources and backbones.")
    what = "every setting as a page in Markdown, docs/settings.md"
    parser.add_argument("--settings", action="store_true", help=what)
    if parser.parse_args(argv).settings:
        print(settings_page(), end="")
        return
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


def settings_page() -> str:
    """Every setting by group, with its default, range or choices, and meaning; in Markdown."""
    found = groups(RunConfig())
    del found["data."]
    sources = {name: data.source_of(name)() for name in data.SOURCES}
    sections = [
        ("The run", "", found.pop("")),
        *((f"Data: {name}", "data.", source) for name, source in sources.items()),
        *((prefix.removesuffix("."), prefix, group) for prefix, group in found.items()),
    ]
    lines = [INTRODUCTION]
    for title, prefix, group in sections:
        lines += [f"## {title}", "", sentence(type(group).__doc__), ""]
        lines += ["| setting | default | takes | meaning |", "| --- | --- | --- | --- |"]
        for name, setting in settings(group).items():
            cells = (f"`{prefix}{name}`", f"`{written(setting.value)}`", _takes(setting))
            lines.append(f"| {' | '.join(cells)} | {setting.meaning} |".replace("|  |", "| |"))
        lines.append("")
    return "\n".join(lines)


def _takes(setting: Setting) -> str:
    """The choices or the range of a setting."""
    names = ", ".join(f"`{name}`" for name in setting.choices)
    return names or (str(setting.allowed) if isinstance(setting.allowed, Range) else "")


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
