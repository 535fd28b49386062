"""Folders without a table: masks are no volumes, and nothing that is not read goes unsaid."""

import os

import nibabel as nib
import numpy as np
import pytest
from dicom_writers import write_series

from assl_jax.data import load
from assl_jax.data.file_reader import FileReader
from assl_jax.data.masks import is_mask
from assl_jax.data.volume_folder import find_volumes
from assl_jax.errors import InputError

SLICES = [np.eye(4, dtype=np.int16)] * 3
MASKS = [
    *("labelsTr/case_001.nii.gz", "labelsTs/a.nii", "masks/a.nii.gz", "a/segmentations/liver.nii"),
    *("BraTS20_Training_001_seg.nii", "BraTS-GLI-00000-000-seg.nii.gz", "volume_mask.nii.gz"),
    *("ct_train_1001_label.nii.gz", "segmentation-0.nii", "case_00000/segmentation.nii.gz"),
    *("patient001_frame01_gt.nii.gz", "sub-1_desc-T1lesion_mask.nii.gz", "mri/aseg.mgz"),
    *("mri/aparc+aseg.mgz", "Segmentation.seg.nrrd", "case-label.nrrd", "LesionMask.mha"),
    *("sub-1_dseg.nii.gz", "01_GT.mhd", "ground truth/labels.nii", "Labels/1.dcm"),
]
SCANS = [
    *("imagesTr/case_001_0000.nii.gz", "imagesTs/a.nii", "BraTS20_Training_001_t1ce.nii"),
    *("volume-0.nii", "imaging.nii.gz", "unlabeled/a.nii", "labelled/a.nii", "mri/brainmask.mgz"),
    *("label_0/a.nii", "label1/scan.nii", "T1_masked.nii.gz", "segmented_later/a.nii", "1.dcm"),
    *("msd/Task09_Spleen/imagesTr/a.nii", "sub-01_T1w.nii.gz", "gtx.nii", "labeling.nii"),
]


@pytest.mark.parametrize(("names", "expected"), [(MASKS, True), (SCANS, False)])
def test_what_names_say(names, expected):
    assert [name for name in names if is_mask(name) is not expected] == []


def save(file, value=0, kind=nib.Nifti1Image):
    file.parent.mkdir(parents=True, exist_ok=True)
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4) + value
    kind(array, np.diag([-1, -1, 1, 1])).to_filename(file)


def opened(root, **settings):
    return load("volumes", path=str(root), window=(-500, 500), **settings)


@pytest.fixture
def decathlon(tmp_path):
    """Scans 0 to 2 with labels, and the scans 10 and 11 without."""
    for i in range(3):
        save(tmp_path / f"imagesTr/c{i}.nii.gz", i)
        save(tmp_path / f"labelsTr/c{i}.nii.gz", 100)
    for i in (10, 11):
        save(tmp_path / f"imagesTs/c{i}.nii.gz", i)
    (tmp_path / "dataset.json").write_text("{}")
    return tmp_path


def test_masks_are_left_out_and_said(decathlon):
    data = opened(decathlon)
    assert data.images[:, 0, 0, 0, 0].tolist() == [0, 1, 2, 10, 11]
    assert data.notes == (
        "there is no volumes.csv: all 5 volumes are unlabeled",
        "3 masks are left out, such as labelsTr/c0.nii.gz; to include masks, list all volumes in "
        "volumes.csv",
        "files that are not read: .json (1)",
    )
    save(decathlon / "imagesTr/c0_seg.nii.gz")
    assert "4 masks are left out" in opened(decathlon).notes[1]


def test_a_table_can_list_masks(decathlon):
    lines = [f"labelsTr/c{i}.nii.gz,,unlabeled" for i in range(3)]
    (decathlon / "volumes.csv").write_text("\n".join(["path,label,split", *lines]))
    data = opened(decathlon)
    assert len(data.images) == 3 and data.notes == ()


def test_every_volume_of_a_folder_is_found(tmp_path):
    root = tmp_path / "all"
    for i, place in enumerate(["", "inside", "p0.nii", "../elsewhere"]):
        save(root / place / f"{i}.nii.gz")  # a folder may end as files do
    write_series(root, SLICES[:1], "scan.dcm")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "link_up").symlink_to(root)
    assert find_volumes(root).volumes == [
        root,  # the series of the slice
        root / "0.nii.gz",
        root / "inside" / "1.nii.gz",
        root / "link" / "3.nii.gz",
        root / "p0.nii" / "2.nii.gz",
    ]


def test_the_folder_of_masks_itself_is_taken(decathlon):
    assert len(opened(decathlon / "labelsTr").images) == 3


def test_a_folder_of_masks_and_unknown_files(decathlon):
    for file in decathlon.glob("images*/*"):
        file.rename(file.with_suffix(".xyz"))
    words = (
        r"holds no volumes and no volumes\.csv; it has 3 masks, as their names say, \.json \(1\), "
        r"\.xyz \(5\), and .*; to take masks as volumes, list all volumes in volumes\.csv$"
    )
    with pytest.raises(InputError, match=words):
        opened(decathlon)


FORMATS = (
    "NIfTI (.nii .nii.gz), NIfTI or ANALYZE pair (.hdr .img .hdr.gz .img.gz), MGH (.mgz .mgh "
    ".mgh.gz), NRRD (.nrrd .nhdr), MetaImage (.mha .mhd), DICOM (.dcm)"
)


def test_formats_that_are_not_read(tmp_path):
    for name in ("a.mat", "deep/b.MAT", "c.png", "noending", ".hidden", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"what a file may hold")
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    found = ".mat (2), .png (1), no ending (1)"
    assert str(caught.value) == (
        f"{tmp_path} holds no volumes and no volumes.csv; it has {found}, and the program reads "
        f"{FORMATS}"
    )
    reader = FileReader(shape=(2, 3, 4, 1), low=0, high=1)
    with pytest.raises(InputError, match=r"holds no volumes; it has \.mat \(2\), \.png"):
        reader.find(tmp_path)
    save(tmp_path / "deep/v.mgz", kind=nib.MGHImage)
    assert opened(tmp_path).notes[1:] == (f"files that are not read: {found}",)


def test_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match=r"holds no volumes and no volumes\.csv; it has no files"):
        opened(tmp_path)


def test_predict_leaves_masks_out_and_says_it(decathlon, capsys):
    reader = FileReader(shape=(2, 3, 4, 1), low=0, high=1)
    assert len(reader.find(decathlon)) == 5
    said = capsys.readouterr().err
    assert "3 masks are left out" in said and "to include masks, name their files" in said
    assert f"{decathlon}: files that are not read: .json (1)" in said
    mask = decathlon / "labelsTr/c0.nii.gz"
    assert reader.find(mask, decathlon / "imagesTs")[0] == mask


def test_other_files_beside_slices(tmp_path):
    write_series(tmp_path, SLICES)
    save(tmp_path / "same.nii.gz")
    (tmp_path / "notes.txt").write_text("text")
    found = find_volumes(tmp_path)
    assert found.volumes == [tmp_path, tmp_path / "same.nii.gz"]
    assert found.others == [tmp_path / "notes.txt"] and found.masks == []


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mhd", "a.mgz", "a.hdr", "a.nii", "a.dcm"])
def test_a_pipe_is_never_opened(tmp_path, name):
    write_series(tmp_path, SLICES)
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / name)
    found = find_volumes(tmp_path)
    assert tmp_path in found.volumes and found.others == [tmp_path / "pipe"]
    if name != "a.dcm":  # in a folder of slices, these and the pipe are one
        with pytest.raises(InputError, match=rf"{name} cannot be used: it is a pipe, a socket or"):
            opened(tmp_path)


def test_voxels_under_a_name_that_is_a_format_of_its_own(tmp_path):
    """ENVI's and others' `.img` belongs to the header that names it."""
    array = np.arange(24, dtype="<i2")
    text = "NDims = 3\nDimSize = 2 3 4\nElementType = MET_SHORT\nElementDataFile = a.img\n"
    (tmp_path / "z.mhd").write_text(text)
    (tmp_path / "a.img").write_bytes(array.tobytes())
    found = find_volumes(tmp_path)
    assert found.volumes == [tmp_path / "z.mhd"] and found.others == []
