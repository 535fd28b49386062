"""The identity of a network: its whole history."""

from collections.abc import Callable, Iterator
from typing import Self

from assl_jax.records.base import Pool, Record
from assl_jax.words import say

START = "start"  # the name of the weights that every pretraining of a run begins with
REPEATED = ("second_run", "self_assl")  # variants besides the first training of a pool


def ending(variant: str, share: float = 1.0, seed: int = 0) -> str:
    """What tells a network from the first whole training of its members: ", pretraining 2"."""
    words = [say(f"network.{variant}")] if variant in REPEATED else []
    words += [say("network.share", percent=100 * share)] if share < 1 else []
    words += [say("network.seed", number=seed + 1)] if seed else []
    return "".join(f", {word}" for word in words)


class Network(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A network by its whole history; its parents and its label are made from it.

    Attributes:
      tasks: the proxy tasks of its last training; () without one.
      objective: what that training does: "alternate", "joint" and "distil" train several tasks
        together, "second_run" and "self_assl" train the same tasks once more; "" trains one task.
        "side_by_side" is no training: two `teachers` are fine-tuned as one network. "student" is
        no pretraining either: it learns from fine-tuned `teachers`, see `evaluation.student`.
      start: the network that the training begins with; None begins with random weights.
      teachers: finished networks that stay as they are. Their features are targets of "distil";
        "self_assl" trains away from those of the only one.
      given: the name of weights that a user brings, `START` or a teacher's.
      share: of its training that is done, above 0; below 1 at a rung of a search.
      seed: number of the pretraining, 0 to `pretrain.seeds` - 1.
    """

    tasks: Pool = ()
    objective: str = ""
    start: "Network | None" = None
    teachers: "tuple[Network, ...]" = ()
    given: str = ""
    share: float = 1.0
    seed: int = 0

    @property
    def parents(self) -> "tuple[Network, ...]":
        """The networks that it begins with or looks at, each once."""
        return tuple(dict.fromkeys(filter(None, (self.start, *self.teachers))))

    @property
    def history(self) -> "Iterator[Network]":
        """Itself, and every network that it builds on; a network may come twice."""
        yield self
        for parent in self.parents:
            yield from parent.history

    @property
    def members(self) -> Pool:
        """The tasks and teachers that it has learned from, in the order of its history."""
        if self.given:
            return () if self.given == START else (self.given,)
        before = self.start.members if self.start else ()
        beside = [name for teacher in self.teachers for name in teacher.members]
        return tuple(dict.fromkeys((*before, *self.tasks, *beside)))

    @property
    def variant(self) -> str:
        """One of `REPEATED`, "scratch", `START`, "student", "plain" for a first training, or
        "continued" after it.
        """
        if not self.members:
            return START if self.given else "scratch"
        if self.trained_again:
            return self.objective
        if self.objective == "student":
            return "student"
        if self.objective == "side_by_side":
            return self.teachers[-1].variant
        if self.start and self.start.trained and not self._distils_singles:
            return "continued"
        return "plain"

    @property
    def trained_again(self) -> bool:
        """Whether it trains the tasks of its only teacher once more."""
        return self.objective in ("second_run", "self_assl")

    @property
    def trained(self) -> bool:
        """Whether it has been trained on proxy tasks."""
        return bool(self.tasks)

    @property
    def has_weights(self) -> bool:
        """Whether a stage holds its weights: not from scratch, and not for two side by side."""
        return self.trained or bool(self.given)

    @property
    def generation(self) -> int:
        """The number of trainings one after the other that end with it, 0 for given weights."""
        before = max((parent.generation for parent in self.parents), default=0)
        return before + self.trained

    @property
    def label(self) -> str:
        """In logs and folder names: `src+rotation`, `simclr.continued.seed1`, `scratch`."""
        own = "+".join(self.members) or self.variant
        if self.objective == "student":
            own = "+".join(teacher.repeated(0).label for teacher in self.teachers)
        if self.variant == "continued":
            before, times = self._before
            told = f"then_{'+'.join(self._further)}" if self._further else "continued"
            own = f"{before.repeated(0).label}.{told}{times if times > 1 else ''}"
        words = [f".{self.variant}" if self.variant in (*REPEATED, "student") else ""]
        words += [f".part{self.share:g}"] if self.share < 1 else []
        words += [f".seed{self.seed}"] if self.seed else []
        return own + "".join(words)

    def title(self, of: Callable[[str], str] = str) -> str:
        """For people: `SRC + Rotation, Self-ASSL, pretraining 2`; `of` names a task or teacher."""
        own = " + ".join(map(of, self.members)) or say(f"network.{self.variant}")
        variant = self.variant
        if self.objective == "student":
            titles = (teacher.repeated(0).title(of) for teacher in self.teachers)
            *others, last = (f"({title})" if "," in title else title for title in titles)
            teachers = say("and").join(filter(None, (", ".join(others), last)))
            own, variant = say("network.student", teachers=teachers), ""
        if variant == "continued":
            before, times = self._before
            tasks, own = " + ".join(map(of, self._further)), before.repeated(0).title(of)
            often = "network.continued" if times == 1 else "network.continued.often"
            own = say("network.then" if tasks else often, before=own, tasks=tasks, times=times)
        return own + ending(variant, self.share, self.seed)

    @property
    def _distils_singles(self) -> bool:
        """Whether it begins with the first training of its task and learns from other first ones.

        It is then called by its members, as a pool that begins with random weights.
        """
        first = (self.start, *self.teachers)
        return self.objective == "distil" and all(
            each and each.variant == "plain" and len(each.members) == 1 for each in first
        )

    @property
    def _before(self) -> "tuple[Network, int]":
        """The network that it continues, and how often it did so with the same tasks."""
        assert self.start
        last = self.start
        if self._further or last.variant != "continued" or last._further:
            return last, 1
        before, times = last._before
        return before, times + 1

    @property
    def _further(self) -> Pool:
        """What a continued training adds, or its tasks; () if it continues as before."""
        assert self.start
        new = tuple(name for name in self.members if name not in self.start.members)
        known = {*self.start.tasks}, {*self.start.members}
        return new or (() if {*self.tasks} in known else self.tasks)

    def repeated(self, seed: int) -> Self:
        """The same history with other random numbers; given weights stay the same."""
        if not self.parents and not self.trained:
            return self
        return self.replace(
            seed=seed,
            start=self.start and self.start.repeated(seed),
            teachers=tuple(teacher.repeated(seed) for teacher in self.teachers),
        )


SCRATCH = Network()
