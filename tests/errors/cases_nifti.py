"""NIfTI volumes that a run refuses, and settings that do not fit volumes."""

import gzip
import os
import struct

import numpy as np

TOPIC = "NIfTI volumes"
COMMAND = (
    *("run", "mtassl_volumes:small", "--config.data.path=FOLDER/heads", "--workdir=FOLDER/work"),
    *("--config.data.cache=", "--config.tasks=rotation", "--noconfig.keep_compiled"),
    *("--config.pretrain.batch_size=8", "--config.target.batch_size=8"),
)
VOXELS = np.random.default_rng(0).integers(0, 1000, (8, 9, 10)).astype(np.int16)


def packed(array, affine=None, kind="Nifti1Image", change=None):
    """The bytes of a file; `change` may set header fields."""
    import nibabel

    image = getattr(nibabel, kind)(array, np.eye(4) if affine is None else affine)
    if change:
        change(image.header)
    return image.to_bytes()


def case(content=None, *settings, name="bad.nii", make=None):
    """`content` gives the bytes of a volume beside eight good ones."""

    def build(folder):
        root = folder / "heads"
        root.mkdir()
        lines = ["path,label"]
        for i in range(8):
            (root / f"{i}.nii").write_bytes(packed(VOXELS))
            lines.append(f"{i}.nii,{'ab'[i % 2]}")
        if content or make:
            lines.append(f"{name},a")
        if content:
            (root / name).write_bytes(content())
        if make:
            make(root / name)
        (root / "volumes.csv").write_text("\n".join(lines))
        return [*COMMAND, *(f"--config.{each}" for each in settings)]

    return build


def header(offset, form, *values):
    """A good file with other numbers in its header."""

    def content():
        raw = bytearray(packed(VOXELS))
        struct.pack_into(form, raw, offset, *values)
        return bytes(raw)

    return content


def huge_gz():
    return gzip.compress(header(40, "<4h", 3, 32767, 32767, 32767)())


def with_nan():
    voxels = VOXELS.astype(np.float32)
    voxels[0, 0, 0] = np.nan
    return packed(voxels)


CASES = {
    "no `data.path`": case(None, "data.path="),
    "a file that is not there": case(make=lambda file: None),
    "an empty file": case(lambda: b""),
    "a text": case(lambda: b"no volume", name="bad.txt"),
    "a text that is called a volume": case(lambda: b"no volume"),
    "a folder that is called a volume": case(make=lambda file: file.mkdir()),
    "a pipe": case(make=os.mkfifo),
    "a link to itself": case(make=lambda file: file.symlink_to(file)),
    "the first half of a file": case(lambda: packed(VOXELS)[:900]),
    "the first half of a packed file": case(
        lambda: gzip.compress(packed(VOXELS))[:700], name="bad.nii.gz"
    ),
    "a packed file with changed bytes": case(
        lambda: gzip.compress(packed(VOXELS))[:-8] + bytes(8), name="bad.nii.gz"
    ),
    "a header of 70 TB": case(header(40, "<4h", 3, 32767, 32767, 32767)),
    "a packed header of 70 TB": case(huge_gz, name="bad.nii.gz"),
    "negative sizes": case(header(40, "<4h", 3, -8, 9, 10)),
    "no axes": case(header(40, "<h", 0)),
    "a hundred axes": case(header(40, "<h", 100)),
    "an unknown type of voxels": case(header(70, "<h", 9999)),
    "voxels that begin behind the end": case(header(108, "<f", 1e9)),
    "voxels that begin at NaN": case(header(108, "<f", np.nan)),
    "an affine of NaN": case(header(280, "<12f", *[np.nan] * 12)),
    "an affine that is singular": case(header(280, "<12f", *[0] * 12)),
    "colours": case(lambda: packed(np.zeros((8, 9, 10), [("R", "u1"), ("G", "u1"), ("B", "u1")]))),
    "complex numbers": case(lambda: packed(VOXELS.astype(np.complex64))),
    "one slice": case(lambda: packed(VOXELS[:, :, :1])),
    "several volumes": case(lambda: packed(np.stack([VOXELS] * 3, -1))),
    "a header alone (pair)": case(lambda: packed(VOXELS)[:344] + b"ni1\0", name="bad.hdr"),
    "a volume of one value": case(lambda: packed(0 * VOXELS)),
    "voxels that are NaN": case(with_nan),
    "voxels that are all NaN": case(
        lambda: packed(np.full((8, 9, 10), np.nan, np.float32)), "data.nan=lowest"
    ),
    "a volume of another shape": case(lambda: packed(VOXELS[:7])),
    "voxels of a thousandth of a millimetre": case(None, "data.spacing=(1e-3,1e-3,1e-3)"),
    "voxels of a metre": case(None, "data.spacing=(1000,1000,1000)"),
    "voxel sizes that are 0": case(None, "data.spacing=(0,1,1)"),
    "two voxel sizes": case(None, "data.spacing=(1,1)"),
    "voxel sizes that are texts": case(None, "data.spacing=('a',1,1)"),
    "a shape of 30,000 voxels per axis": case(None, "data.shape=(30000,30000,30000)"),
    "a shape of two axes": case(None, "data.shape=(8,8)"),
    "a shape of fractions": case(None, "data.shape=(8.5,8,8)"),
    "a shape that is larger than the volumes": case(
        None, "data.shape=(64,64,64)", "data.spacing=(1,1,1)"
    ),
    "a window without a width": case(None, "data.window=(5,5)"),
    "a narrow window": case(None, "data.window=(0,10)"),
    "a window of fractions": case(None, "data.window=(0,99.5)"),
    "a window beyond 16 bits": case(None, "data.window=(0,70000)"),
    "no voxel in the foreground": case(
        None, "data.crop_foreground=True", "data.foreground_above=5000"
    ),
    "an unknown answer to NaN": case(None, "data.nan=zero"),
    "a cache below a file": case(None, "data.cache=FOLDER/heads/0.nii/cache"),
}
