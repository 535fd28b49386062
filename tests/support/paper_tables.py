"""The paper's Tables 1 and 2, as printed."""

TASKS = ("src", "jigsaw", "inpaint", "simclr", "rotation", "mcpc")
SCRATCH = 63.19
SINGLES = dict(zip(TASKS, [68.36, 68.29, 64.49, 73.05, 70.07, 66.94], strict=True))
TWO, THREE = ("simclr", "rotation"), ("simclr", "rotation", "src")

# Table 1, each pair once: similarity and integrated accuracy.
TABLE_1 = {
    ("jigsaw", "rotation"): (0.1543, 76.06),
    ("jigsaw", "src"): (0.1891, 75.57),
    ("jigsaw", "simclr"): (0.2409, 74.69),
    ("jigsaw", "inpaint"): (0.4132, 70.77),
    ("jigsaw", "mcpc"): (0.4202, 68.81),
    ("rotation", "src"): (0.0695, 76.70),
    ("rotation", "simclr"): (0.0866, 78.21),
    ("rotation", "inpaint"): (0.1524, 73.44),
    ("rotation", "mcpc"): (0.1557, 74.70),
    ("simclr", "src"): (0.1085, 77.25),
    ("simclr", "inpaint"): (0.2373, 74.08),
    ("simclr", "mcpc"): (0.2388, 73.29),
    ("inpaint", "src"): (0.1852, 72.47),
    ("inpaint", "mcpc"): (0.4125, 65.09),
    ("src", "mcpc"): (0.2573, 72.03),
}

# Table 2 from iteration 2 on: similarity, average, maximum, accuracy, and its gains over both.
TABLE_2 = {
    ("simclr",): {
        "rotation": (0.0866, 71.56, 73.05, 78.21, 6.65, 5.16),
        "src": (0.1085, 70.71, 73.05, 77.25, 6.55, 4.20),
        "inpaint": (0.2373, 68.77, 73.05, 74.08, 5.31, 1.03),
        "mcpc": (0.2388, 70.00, 73.05, 73.29, 3.30, 0.24),
        "jigsaw": (0.2409, 70.67, 73.05, 74.69, 4.02, 1.64),
    },
    TWO: {
        "src": (0.0911, 73.29, 78.21, 79.43, 6.15, 1.22),
        "inpaint": (0.1973, 71.35, 78.21, 78.16, 6.81, -0.05),
        "mcpc": (0.1985, 72.58, 78.21, 77.97, 5.40, -0.24),
        "jigsaw": (0.1986, 73.25, 78.21, 77.89, 4.64, -0.32),
    },
    THREE: {
        "inpaint": (0.2251, 71.96, 79.43, 76.01, 4.05, -3.42),
        "mcpc": (0.2283, 73.19, 79.43, 75.78, 2.60, -3.65),
        "jigsaw": (0.2284, 73.86, 79.43, 76.25, 2.39, -3.18),
    },
}


def accuracies():
    """Those of scratch and of the single tasks, as shares."""
    return {"scratch": SCRATCH / 100} | {task: value / 100 for task, value in SINGLES.items()}
