"""How a run was started: its command, its settings and the machine."""

from assl_jax.records import BACKBONE_FOLDER, flat_settings
from assl_jax.report.record import RunRecord
from assl_jax.report.words import say
from assl_jax.sections import Command, Facts, Folded, Section, Text


def section(run: RunRecord) -> Section:
    """The command, versions and devices, and every setting below."""
    best, settings = run.results.best, Facts(flat_settings(run.config))
    weights = say("environment.backbone", folder=BACKBONE_FOLDER)
    return Section.of(
        say("environment"),
        Command(run.environment.get("command", "")),
        Facts({name: value for name, value in run.environment.items() if name != "command"}),
        Text((weights,)) if best and not best.scratch else None,
        Folded((settings,) if settings else (), say("environment.settings")),
    )
