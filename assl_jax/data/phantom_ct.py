"""Generated volumes that resemble head CT, with four patterns of bleeding.

They need no download. `python -m assl_jax write_phantom FOLDER` writes them as NIfTI files with a
table.
"""

import dataclasses
import math

import numpy as np

from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.data.memory import afford
from assl_jax.data.source import Source
from assl_jax.data.splits import drawn
from assl_jax.errors import require
from assl_jax.ranges import Seed

CLASSES = ("deep", "lobar", "subarachnoid", "ventricular")
WINDOW = (-20.0, 100.0)  # HU
WORKING_BYTES = 100  # for each voxel while a volume is generated
AIR, BONE, BRAIN, FLUID, BLOOD, SCAR, CALCIUM = -1000.0, 900.0, 34.0, 6.0, 82.0, 14.0, 90.0  # HU


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomCT(Source):
    """Head phantoms with four patterns of bleeding, equally many of each.

    A volume consists of soft-edged ellipsoids in head coordinates, which are rotated, scaled and
    shifted at random: skull, brain with a smooth texture, two lateral ventricles of different
    size, and a bleeding of random size, density and side. The place of the bleeding decides the
    class: "deep" is next to a ventricle, "lobar" under the skull, "subarachnoid" a thin sheet along
    the skull's base, "ventricular" inside a ventricle. Large "deep" and "lobar" bleedings overlap
    in place, which makes the classes hard to tell apart. Small scars and calcifications are
    independent of the class. Noise is the sum of independent voxel noise and smooth noise, like
    that of a reconstruction. No patient's data is used: the phantoms test software, not medicine.

    It gives `[volumes, *shape, 1]` int16 volumes in HU, clipped to -20..100, and four classes. The
    unlabeled volumes are all except the test volumes.

    Attributes:
      volumes: number of volumes; volume i depends only on `seed`, `shape` and i.
      shape: `[z, y, x]` voxels, z from inferior to superior, y from anterior to posterior, x from
        the patient's right to left; at least 8 each.
      labels: size of the labelled training set, drawn evenly from the classes.
      test: number of test volumes, drawn evenly from the classes.
      seed: generates the volumes and draws both sets.

    Raises:
      InputError: a setting out of range, or more voxels than the memory holds.
    """

    volumes: int = 600
    shape: tuple[int, ...] = (16, 28, 28)
    labels: int = 60
    test: int = 200
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.shape) == 3 and min(self.shape) >= 8,
            f"data.shape={self.shape} must be three axes of at least 8 voxels",
        )
        require(
            min(self.labels, self.test) >= len(CLASSES) and self.labels + self.test <= self.volumes,
            f"data.labels={self.labels} and data.test={self.test} must be at least "
            f"{len(CLASSES)} each and together at most data.volumes={self.volumes}",
        )
        afford(
            float(math.prod(self.shape)) * (2 * self.volumes + WORKING_BYTES),
            f"data.volumes={self.volumes} of data.shape={self.shape}",
            "lower one of them",
        )

    def load(self) -> Dataset:
        classes = np.arange(self.volumes, dtype=np.int32) % len(CLASSES)
        images = np.stack(
            [phantom(i, shape=self.shape, seed=self.seed) for i in range(self.volumes)]
        )
        images = np.clip(images, int(WINDOW[0]), int(WINDOW[1]))[..., None]
        splits = drawn(classes, test=self.test, chosen=self.labels, seed=self.seed)
        seen = images[splits["unlabeled"]]
        return Dataset(
            name="phantom_ct",
            images=images,
            class_names=CLASSES,
            intensity=intensity_of(seen, low=WINDOW[0], high=WINDOW[1]),
            **splits,
        )


def phantom(
    index: int, *, shape: tuple[int, ...], seed: int = 0, lesion: str | None = None
) -> np.ndarray:
    """Generate volume `index`: `shape` int16 values in HU, from -1024 to 3071.

    Args:
      index, shape, seed: determine the head and the noise.
      lesion: one of `CLASSES`, or "" for no bleeding; None takes the volume's class, `index % 4`.
    """
    rng, bleeding = (np.random.default_rng([seed, index, part]) for part in (0, 1))
    place = _head_coordinates(shape, rng)
    inside = _ellipsoid(place, (0, 0, 0), (0.88, 0.80, 0.66), edge=0.03)
    skull = _ellipsoid(place, (0, 0, 0), (0.97, 0.89, 0.75), edge=0.03)
    brain = BRAIN + 4.0 * _texture(place, rng, waves=6, frequency=5.0)

    # Left and right differ, as in people.
    sides = (-1, 1)
    length, width = rng.uniform(0.30, 0.42), rng.uniform(0.10, 0.16, 2)
    centres = [(rng.uniform(0.05, 0.2), rng.uniform(-0.1, 0.1), s * 0.18) for s in sides]
    ventricles = [
        _ellipsoid(place, c, (0.28, length, w), edge=0.03)
        for c, w in zip(centres, width, strict=True)
    ]
    hu = brain
    for ventricle in ventricles:
        hu = _mix(hu, FLUID, ventricle)
    for density in (SCAR, CALCIUM, CALCIUM):  # independent of the class
        centre = rng.uniform(-0.5, 0.5, 3)
        hu = _mix(hu, density, _ellipsoid(place, centre, rng.uniform(0.06, 0.14, 3), edge=0.04))
    name = CLASSES[index % len(CLASSES)] if lesion is None else lesion
    if name:
        blood = BLOOD + bleeding.uniform(-8, 8)
        hu = _mix(hu, blood, _lesion(name, place, centres, ventricles, inside, bleeding))
    hu = _mix(_mix(AIR, BONE, skull), hu, inside)
    hu = hu + rng.normal(0, 6.0, shape) + 3.0 * _texture(place, rng, waves=8, frequency=14.0)
    return np.rint(np.clip(hu, -1024, 3071)).astype(np.int16)


def _lesion(name, place, centres, ventricles, inside, rng) -> np.ndarray:
    """The fraction of each voxel that is blood."""
    side = int(rng.integers(2))
    z, y, x = centres[side]
    sign = (-1, 1)[side]
    if name == "deep":
        centre = (z + rng.uniform(-0.15, 0.1), y + rng.uniform(-0.15, 0.15), x + sign * 0.26)
        return _ellipsoid(place, centre, rng.uniform(0.20, 0.32, 3), edge=0.04)
    if name == "lobar":
        angle = rng.uniform(0, 2 * math.pi)
        up = rng.uniform(0.0, 0.6)
        flat = 0.82 * math.sqrt(1 - up**2)
        centre = (up * 0.72, flat * 0.80 * math.cos(angle), flat * 0.66 * math.sin(angle))
        return inside * _ellipsoid(place, centre, rng.uniform(0.22, 0.36, 3), edge=0.04)
    if name == "subarachnoid":
        core = _ellipsoid(place, (0, 0, 0), np.array([0.88, 0.80, 0.66]) * 0.8, edge=0.03)
        angle = rng.uniform(0, 2 * math.pi)
        towards = place[1] * math.cos(angle) + place[2] * math.sin(angle)
        low = _step(rng.uniform(-0.35, -0.1) - place[0], 0.06)
        return inside * (1 - core) * low * _step(towards + 0.3, 0.1)
    level = place[1] - (y + rng.uniform(-0.3, 0.0))  # blood settles at the back
    return ventricles[side] * _step(level, 0.05)


def _head_coordinates(shape, rng) -> np.ndarray:
    """`[3, *shape]` coordinates of the voxels; the head's half-axes are about 1."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    turn = np.eye(3)
    for plane, degrees in (((1, 2), 12), ((0, 1), 7), ((0, 2), 7)):
        angle = math.radians(rng.uniform(-degrees, degrees))
        one = np.eye(3)
        one[np.ix_(plane, plane)] = [
            [math.cos(angle), -math.sin(angle)],
            [math.sin(angle), math.cos(angle)],
        ]
        turn = one @ turn
    scale = rng.uniform(0.92, 1.08, 3)
    shift = rng.uniform(-0.06, 0.06, 3)
    return np.tensordot(turn * scale[:, None], grid - shift[:, None, None, None], 1)


def _ellipsoid(place, centre, radii, *, edge) -> np.ndarray:
    """1 inside, 0 outside, with a soft edge of about `edge`."""
    radii = np.asarray(radii, float)
    offset = (place - np.reshape(centre, (3, 1, 1, 1))) / radii.reshape(3, 1, 1, 1)
    return _step((1 - np.sqrt((offset**2).sum(0))) * radii.min(), edge)


def _step(x, edge) -> np.ndarray:
    """A smooth step from 0 to 1 around x = 0."""
    return 0.5 * (1 + np.tanh(x / edge))


def _mix(below, above, share) -> np.ndarray:
    return below + (above - below) * share


def _texture(place, rng, *, waves: int, frequency: float) -> np.ndarray:
    """Smooth noise of about unit variance: a sum of plane waves of random direction and phase."""
    total = np.zeros(place.shape[1:])
    for _ in range(waves):
        wave = np.tensordot(rng.normal(0, frequency, 3), place, 1)
        total += np.cos(wave + rng.uniform(0, 2 * math.pi))
    return total * math.sqrt(2 / waves)
