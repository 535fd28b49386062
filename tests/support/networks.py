"""Networks from what tests call them."""

from assl_jax.records import SCRATCH, START, Network
from assl_jax.report.names import Label


def network_of(label):
    """The network of `scratch`, `start`, `rotation+src`, `src.part0.5.seed1`."""
    members, *words = label.replace("part0.", "part").split(".")
    if members == "scratch":
        return SCRATCH
    if members == "start":
        return Network(given=START)
    tasks, more = tuple(members.split("+")), {}
    found = Network(tasks=tasks, objective="alternate" if len(tasks) > 1 else "")
    for word in words:
        if word in ("second_run", "self_assl"):
            found = Network(tasks=tasks, objective=word, teachers=(found,))
        elif word.startswith("part"):
            more["share"] = float(f"0.{word.removeprefix('part')}")
        elif word.startswith("seed"):
            found = found.repeated(int(word.removeprefix("seed")))
        else:
            raise ValueError(label)
    return found.replace(**more)


def labels_of(records):
    """What a run says of the labels of its log or of its stages, `vgg16/src` among them."""
    found = {}
    for label in dict.fromkeys(record.label for record in records):
        *backbone, own = label.split("/")
        found[label] = Label.of(network_of(own), *backbone)
    return found
