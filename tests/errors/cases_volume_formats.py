"""Volumes of other formats than NIfTI and DICOM that a run refuses, and folders without volumes."""

import nibabel
import numpy as np

TOPIC = "Other volume formats"
COMMAND = (
    *("run", "mtassl_volumes:small", "--config.data.path=FOLDER/heads", "--workdir=FOLDER/work"),
    *("--config.data.cache=", "--config.tasks=rotation", "--noconfig.keep_compiled"),
)
VOXELS = np.random.default_rng(0).integers(0, 1000, (8, 9, 10)).astype("<i2")
NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 8 9 10\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1)\nendian: little\nencoding: raw\n\n"
)
VECTORS = NRRD.replace("dimension: 3", "dimension: 4")
META = (
    "NDims = 3\nCompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    "DimSize = 8 9 10\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
)


def texts(name, header, old="", new="", *, end=None):
    """A file with a header of text, in which something is changed, and its voxels up to `end`."""
    assert old in header

    def write(root):
        content = VOXELS.tobytes(order="F")[:end]
        (root / name).write_bytes(header.replace(old, new).encode() + content)

    return write


def image(kind, name, change):
    """A file that nibabel writes, and what becomes of it."""

    def write(root):
        kind(VOXELS, np.diag([2, 2, 2, 1])).to_filename(root / name)
        change(root / name)

    return write


def cut(file):
    file.write_bytes(file.read_bytes()[:900])


def names(*every):
    def write(root):
        for name in every:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(b"content")

    return write


WRITERS = {
    "the first half of an NRRD file": texts("a.nrrd", NRRD, end=700),
    "an NRRD file that is a text": texts("a.nrrd", "a text"),
    "an NRRD header without a colon": texts("a.nrrd", NRRD, "type: short", "type short"),
    "an NRRD header of 7 TB": texts("a.nrrd", NRRD, "8 9 10", "15000 15000 15000"),
    "an NRRD file of text": texts("a.nrrd", NRRD, "raw", "ascii"),
    "an NRRD file in the scanner's space": texts("a.nrrd", NRRD, "left-posterior-superior", "XYZ"),
    "an NRRD file of vectors": texts(
        "a.nrrd", VECTORS.replace("sizes: ", "sizes: 3 ").replace("ions: ", "ions: none ")
    ),
    "an NRRD header whose voxels are missing": texts(
        "a.nhdr", NRRD, "raw\n", "raw\ndata file: a.raw\n"
    ),
    "the first half of a MetaImage": texts("a.mha", META, end=700),
    "a MetaImage that is a text": texts("a.mha", "a text"),
    "a MetaImage of 7 TB": texts("a.mha", META, "8 9 10", "15000 15000 15000"),
    "a MetaImage of colours": texts("a.mha", META, "NDims", "ElementNumberOfChannels = 3\nNDims"),
    "a MetaImage of an unknown type": texts("a.mha", META, "MET_SHORT", "MET_STRING"),
    "a packed MetaImage that is damaged": texts("a.mha", META, "False", "True"),
    "a MetaImage whose voxels are missing": texts("a.mhd", META, "LOCAL", "a.raw"),
    "a MetaImage in many files": texts("a.mhd", META, "LOCAL", "slice%03d.raw"),
    "a MetaImage with letters for its axes alone": texts(
        "a.mha", META, "TransformMatrix = 1 0 0 0 1 0 0 0 1", "AnatomicalOrientation = LPI"
    ),
    "the first half of an MGH file": image(nibabel.MGHImage, "a.mgh", cut),
    "an MGH file that is a text": image(
        nibabel.MGHImage, "a.mgz", lambda f: f.write_bytes(b"a text of enough bytes " * 40)
    ),
    "an `.hdr` alone": image(nibabel.Nifti1Pair, "a.hdr", lambda f: f.with_suffix(".img").unlink()),
    "an `.img` alone": image(nibabel.Nifti1Pair, "a.img", lambda f: f.with_suffix(".hdr").unlink()),
    "an `.hdr` of another kind": image(
        nibabel.Nifti1Pair, "a.hdr", lambda f: f.write_bytes(b"ENVI\nsamples = 8\n" * 40)
    ),
    "ANALYZE with an SPM matrix": image(nibabel.Spm99AnalyzeImage, "a.img", lambda f: None),
    "no file that is read": names("a.mat", "b.mat", "c.png"),
    "masks alone": names("labelsTr/a.nii.gz", "labelsTr/b.nii.gz"),
}


def case(write):
    def build(folder):
        (folder / "heads").mkdir()
        write(folder / "heads")
        return COMMAND

    return build


CASES = {words: case(write) for words, write in WRITERS.items()}
