"""The values printed in the paper "Aggregative Self-Supervised Feature Learning" (Zhu, Li, Zhou).

Accuracies are in % and gains in points, as printed. Tasks have this library's names. The paper's
data are STL-10 with 1,000 labels (2D), and brain CT of one hospital with four causes of haemorrhage
(3D).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

DATA = {2: "STL-10", 3: "brain CT"}  # by the number of axes of an image


class Pair(NamedTuple):
    """A row of Tables 1, 2 or 3: the tasks `a1`, and `a2` trained together with them."""

    a1: tuple[str, ...]
    a2: str
    similarity: float
    avg: float
    max: float
    accuracy: float
    avg_gain: float
    max_gain: float


class Improvement(NamedTuple):
    """A row of Table 4: accuracies without and with Self-ASSL; None if not printed."""

    plain: float
    self_assl: float | None
    difference: float | None


# Table 1 lists each pair under both of its tasks; this table lists it once.
TABLE_1 = (
    Pair(("jigsaw",), "rotation", 0.1543, 69.18, 70.07, 76.06, 6.88, 5.99),
    Pair(("jigsaw",), "src", 0.1891, 68.33, 68.36, 75.57, 7.25, 7.21),
    Pair(("jigsaw",), "simclr", 0.2409, 70.67, 73.05, 74.69, 4.02, 1.64),
    Pair(("jigsaw",), "inpaint", 0.4132, 66.39, 68.29, 70.77, 4.38, 2.48),
    Pair(("jigsaw",), "mcpc", 0.4202, 67.62, 68.29, 68.81, 1.20, 0.52),
    Pair(("rotation",), "src", 0.0695, 69.22, 70.07, 76.70, 7.49, 6.63),
    Pair(("rotation",), "simclr", 0.0866, 71.56, 73.05, 78.21, 6.65, 5.16),
    Pair(("rotation",), "inpaint", 0.1524, 67.28, 70.07, 73.44, 6.16, 3.37),
    Pair(("rotation",), "mcpc", 0.1557, 68.51, 70.07, 74.70, 6.20, 4.63),
    Pair(("simclr",), "src", 0.1085, 70.71, 73.05, 77.25, 6.55, 4.20),
    Pair(("simclr",), "inpaint", 0.2373, 68.77, 73.05, 74.08, 5.31, 1.03),
    Pair(("simclr",), "mcpc", 0.2388, 70.00, 73.05, 73.29, 3.30, 0.24),
    Pair(("inpaint",), "src", 0.1852, 66.43, 68.36, 72.47, 6.04, 4.11),
    Pair(("inpaint",), "mcpc", 0.4125, 65.72, 66.94, 65.09, -0.63, -1.85),
    Pair(("src",), "mcpc", 0.2573, 67.65, 68.36, 72.03, 4.38, 3.67),
)
# One pair has two different results in Table 1. This is the one in the rows of SRC.
TABLE_1_UNDER_SRC = Pair(("src",), "jigsaw", 0.1891, 68.33, 68.36, 75.05, 6.73, 6.69)
# Between similarity and gains over the 15 pairs of Table 1; computed here, not printed.
CORRELATION = {
    "avg_gain": {"spearman": -0.84, "pearson": -0.86},
    "max_gain": {"spearman": -0.72, "pearson": -0.75},
}

# The first iteration of Tables 2 and 3.
SINGLES = {
    2: {
        "src": 68.36,
        "jigsaw": 68.29,
        "inpaint": 64.49,
        "simclr": 73.05,
        "rotation": 70.07,
        "mcpc": 66.94,
    },
    3: {
        "sc_assl": 89.53,
        "rubiks_cube": 87.50,
        "cpc": 83.79,
        "rotation": 87.16,
        "models_genesis": 87.50,
    },
}
_SIMCLR_ROTATION = ("simclr", "rotation")
# Its second iteration, the pairs with SimCLR, is in Table 1.
TABLE_2 = (
    Pair(_SIMCLR_ROTATION, "src", 0.0911, 73.29, 78.21, 79.43, 6.15, 1.22),
    Pair(_SIMCLR_ROTATION, "inpaint", 0.1973, 71.35, 78.21, 78.16, 6.81, -0.05),
    Pair(_SIMCLR_ROTATION, "mcpc", 0.1985, 72.58, 78.21, 77.97, 5.40, -0.24),
    Pair(_SIMCLR_ROTATION, "jigsaw", 0.1986, 73.25, 78.21, 77.89, 4.64, -0.32),
    Pair((*_SIMCLR_ROTATION, "src"), "inpaint", 0.2251, 71.96, 79.43, 76.01, 4.05, -3.42),
    Pair((*_SIMCLR_ROTATION, "src"), "mcpc", 0.2283, 73.19, 79.43, 75.78, 2.60, -3.65),
    Pair((*_SIMCLR_ROTATION, "src"), "jigsaw", 0.2284, 73.86, 79.43, 76.25, 2.39, -3.18),
)
_SC_ASSL_CUBE = ("sc_assl", "rubiks_cube")
TABLE_3 = (
    Pair(("sc_assl",), "rubiks_cube", 0.0612, 88.52, 89.53, 90.20, 1.69, 0.67),
    Pair(("sc_assl",), "cpc", 0.1722, 86.66, 89.53, 87.50, 0.84, -2.03),
    Pair(("sc_assl",), "rotation", 0.2413, 88.35, 89.53, 88.17, -0.17, -1.36),
    Pair(("sc_assl",), "models_genesis", 0.2415, 88.52, 89.53, 87.83, -0.69, -1.70),
    Pair(_SC_ASSL_CUBE, "rotation", 0.0403, 88.68, 90.20, 89.52, 0.84, -0.68),
    Pair(_SC_ASSL_CUBE, "models_genesis", 0.1054, 88.85, 90.20, 88.51, -0.34, -1.69),
    Pair(_SC_ASSL_CUBE, "cpc", 0.1059, 87.00, 90.20, 87.50, 0.50, -2.70),
)

# By number of axes and network. In 3D the paper prints one accuracy. For tasks that are also in
# Table 3 it is the same as there, except rotation's (87.16 in Table 3). The difference of the last
# row is not known: the paper prints the accuracy a second time instead, and its text calls that the
# accuracy with Self-ASSL.
SCRATCH = {(2, "VGG"): 63.90, (2, "ResNet-18"): 63.19, (3, "VGG"): 72.30, (3, "ResNet-18"): 81.08}
TABLE_4 = {
    (2, "VGG"): {
        "jigsaw": Improvement(62.84, 63.82, 0.98),
        "inpaint": Improvement(64.76, 65.25, 0.49),
        "rotation": Improvement(69.33, 69.09, -0.24),
        "simclr": Improvement(70.31, 73.04, 2.73),
        "src": Improvement(62.90, 63.21, 0.31),
        "mcpc": Improvement(65.25, 68.42, 3.17),
        "sc_assl": Improvement(65.69, 66.45, 0.76),
    },
    (2, "ResNet-18"): {
        "jigsaw": Improvement(68.29, 70.80, 2.51),
        "inpaint": Improvement(64.49, 65.67, 1.18),
        "rotation": Improvement(70.07, 72.41, 2.34),
        "simclr": Improvement(73.05, 73.38, 0.33),
        "src": Improvement(68.36, 69.33, 0.97),
        "mcpc": Improvement(66.94, 67.18, 0.24),
        "sc_assl": Improvement(72.03, 74.28, 2.25),
    },
    (3, "VGG"): {
        "cpc": Improvement(77.02, None, 6.42),
        "rotation": Improvement(76.68, None, 2.37),
        "rubiks_cube": Improvement(77.36, None, 3.72),
        "models_genesis": Improvement(85.81, None, 0.34),
        "src": Improvement(85.81, None, 1.69),
        "mcpc": Improvement(87.50, None, 2.02),
        "sc_assl": Improvement(87.83, None, 0.34),
    },
    (3, "ResNet-18"): {
        "cpc": Improvement(83.79, None, 4.38),
        "rotation": Improvement(85.81, None, -0.34),
        "rubiks_cube": Improvement(87.50, None, 1.35),
        "models_genesis": Improvement(87.50, None, 0.67),
        "src": Improvement(87.16, None, 1.35),
        "mcpc": Improvement(88.51, None, 0.34),
        "sc_assl": Improvement(89.53, None, None),
    },
}


def network(backbone: str) -> str:
    """The paper's network that a backbone is compared with: VGG or ResNet-18."""
    return "VGG" if backbone.startswith("vgg") else "ResNet-18"


def pair(rank: int, pool: Iterable[str], *, under: str = "") -> Pair | None:
    """The row of a pool of at least two tasks, in any order; None if the paper has no such row.

    Args:
      rank: number of axes of an image, 2 or 3.
      pool: the tasks.
      under: the task that the row is listed under; it matters for one pair.
    """
    tables = {2: (*TABLE_1, *TABLE_2), 3: TABLE_3}
    wanted = frozenset(pool)
    if rank == 2 and under == "src" and wanted == {"src", "jigsaw"}:
        return TABLE_1_UNDER_SRC
    rows = (row for row in tables[rank] if frozenset((*row.a1, row.a2)) == wanted)
    return next(rows, None)


def improvement(rank: int, backbone: str, task: str) -> Improvement | None:
    """A task's row of Table 4, or None."""
    return TABLE_4[rank, network(backbone)].get(task)


def accuracy(rank: int, backbone: str, pool: Sequence[str], variant: str = "plain") -> float | None:
    """The accuracy (%) after one pretraining, from Tables 1 to 3, else Table 4; or None.

    Args:
      rank: number of axes of an image, 2 or 3.
      backbone: name of the architecture.
      pool: the tasks; empty from scratch.
      variant: the paper has "plain" and "self_assl".
    """
    if not pool:
        return SCRATCH[rank, network(backbone)]
    row = improvement(rank, backbone, pool[0]) if len(pool) == 1 else None
    if variant != "plain":
        return row.self_assl if row and variant == "self_assl" else None
    if network(backbone) == "VGG":
        return row.plain if row else None
    if len(pool) > 1:
        extended = pair(rank, pool)
        return extended.accuracy if extended else None
    return SINGLES[rank].get(pool[0], row.plain if row else None)
