"""One volume as a file of every format that is read, those with a header of text by hand."""

import bz2
import gzip
import zlib

import nibabel as nib

SIZES = (0.5, 2.0, 3.0)  # mm of a voxel along the axes of the file
SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "LAS": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
}
MET = "ObjectType = Image\nNDims = 3\nBinaryData = True\n"


def words(numbers):
    return " ".join(map(str, numbers))


def nrrd(file, array, affine, *, space="left-posterior-superior", encoding="raw", detached=False):
    """An NRRD file by hand; `affine` is nibabel's."""
    rows = (affine[:3, :3].T * SPACES[space]).tolist()
    directions = " ".join("({},{},{})".format(*row) for row in rows)
    content = array.astype("<i2").tobytes(order="F")
    content = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}[encoding](content)
    header = (
        f"NRRD0005\n# by hand\ntype: short\ndimension: 3\nspace: {space}\n"
        f"sizes: {words(array.shape)}\nspace directions: {directions}\n"
        f"kinds: domain domain domain\nendian: little\nencoding: {encoding}\n"
    )
    if detached:
        file.with_suffix(".data").write_bytes(content)
        header, content = f"{header}data file: {file.stem}.data\n", b""
    file.write_bytes(header.encode() + b"\n" + content)


def metaimage(
    file, array, affine, *, matrix="TransformMatrix", packed=False, detached=False, big=False
):
    """A MetaImage by hand: a row of the matrix is the direction of an axis, in LPS."""
    rows = (affine[:3, :3] / SIZES).T * (-1, -1, 1)
    content = array.astype(">i2" if big else "<i2").tobytes(order="F")
    content = zlib.compress(content) if packed else content
    header = (
        f"{MET}BinaryDataByteOrderMSB = {big}\nCompressedData = {packed}\n"
        f"{matrix} = {words(rows.ravel().tolist())}\nOffset = 1 2 3\n"
        f"ElementSpacing = {words(SIZES)}\nDimSize = {words(array.shape)}\n"
        f"ElementType = MET_SHORT\nElementDataFile = "
    )
    if detached:
        file.with_suffix(".raw").write_bytes(content)
        file.write_text(f"{header}{file.stem}.raw\n")
    else:
        file.write_bytes(f"{header}LOCAL\n".encode() + content)


def by(kind):
    def write(file, array, affine):
        kind(array, affine).to_filename(file)

    return write


def with_(writer, **settings):
    def write(file, array, affine):
        writer(file, array, affine, **settings)

    return write


WRITERS = {
    "a.nii.gz": by(nib.Nifti1Image),
    "a.hdr": by(nib.Nifti1Pair),
    "b.img": by(nib.Nifti2Pair),
    "c.img.gz": by(nib.Nifti1Pair),
    "a.mgh": by(nib.MGHImage),
    "a.MGZ": by(nib.MGHImage),
    "a.nrrd": nrrd,
    "b.nrrd": with_(nrrd, space="right-anterior-superior", encoding="gzip"),
    "c.nrrd": with_(nrrd, space="LAS", encoding="bzip2"),
    "a.nhdr": with_(nrrd, detached=True),
    "b.nhdr": with_(nrrd, detached=True, encoding="gzip"),
    "a.mha": metaimage,
    "b.mha": with_(metaimage, packed=True, matrix="Rotation"),
    "a.mhd": with_(metaimage, detached=True, big=True),
    "b.mhd": with_(metaimage, detached=True, packed=True, matrix="Orientation"),
}
