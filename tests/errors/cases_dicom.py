"""DICOM series that a run refuses."""

import os

import numpy as np
import pydicom
from dicom_writers import item, write_series

TOPIC = "DICOM series"
COMMAND = (
    *("run", "mtassl_volumes:small", "--config.data.path=FOLDER/scans", "--workdir=FOLDER/work"),
    *("--config.data.cache=", "--config.tasks=rotation", "--noconfig.keep_compiled"),
)
PIXELS = np.arange(12, dtype=np.int16).reshape(3, 4)
PACKED = {"PixelData": pydicom.encaps.encapsulate([b"any"])}
TURNED = [0, 1, 0, 0, 0, 1]
MOSAIC = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
ELEMENTS = {  # of slices by their number; all other elements are good
    "a slice that is missing": {4: {"ImagePositionPatient": [0, 0, 12]}},
    "a first slice that is too far": {0: {"ImagePositionPatient": [0, 0, -1]}},
    "two slices at one place": {2: {"ImagePositionPatient": [0, 0, 2]}},
    "a slice that is shifted": {2: {"ImagePositionPatient": [0, 1.6, 4]}},
    "a slice that is turned": {2: {"ImageOrientationPatient": TURNED}},
    "a slice with larger pixels": {1: {"PixelSpacing": [1, 1.01]}},
    "a slice of another size": {4: {"pixels": PIXELS[:, :3]}},
    "a slice of another scale of grey": {1: {"PhotometricInterpretation": "MONOCHROME1"}},
    "no position": {3: {"ImagePositionPatient": None}},
    "no orientation": {3: {"ImageOrientationPatient": None}},
    "no size of pixels": {3: {"PixelSpacing": None}},
    "no scale of grey": {3: {"PhotometricInterpretation": None}},
    "no number of columns": {3: {"Columns": None}},
    "no number of bits": {3: {"BitsStored": None}},
    "a position of two numbers": {1: {"ImagePositionPatient": [0, 0]}},
    "a position that is infinite": {1: {"ImagePositionPatient": ["0", "0", "1e999"]}},
    "pixels of size 0": {1: {"PixelSpacing": [0, 1]}},
    "directions that are parallel": {1: {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}},
    "a slope of 0": {1: {"RescaleSlope": 0}},
    "colours": {1: {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}},
    "a palette": {1: {"PhotometricInterpretation": "PALETTE COLOR"}},
    "12 bits at the upper end of 16": {1: {"BitsStored": 12, "HighBit": 15}},
    "17 of 16 bits": {1: {"BitsStored": 17}},
    "a mosaic": {1: {"ImageType": MOSAIC}},
    "frames without positions": {1: {"NumberOfFrames": 3}},
    "fewer positions than frames": {
        1: {"NumberOfFrames": 2, "PerFrameFunctionalGroupsSequence": [item()]}
    },
    "values that a table maps": {1: {"ModalityLUTSequence": [item()]}},
    "a header of 60,000 by 60,000 pixels": {1: {"Rows": 60000, "Columns": 60000}},
    "a header of two milliard frames": {1: {"NumberOfFrames": 2**31 - 1}},
    "one row": {1: {"Rows": 1}},
    "a compression without a decoder": {1: PACKED | {"syntax": pydicom.uid.JPEGLSLossless}},
    "a film": {1: PACKED | {"syntax": pydicom.uid.MPEG2MPML}},
}
XRAY = {"Modality": "DX", "ImagePositionPatient": None, "ImageOrientationPatient": None}
ELEMENTS["X-rays"] = {k: XRAY for k in range(5)}
FILES = {  # what becomes of a slice's file
    "a slice whose end is missing": lambda f: f.write_bytes(f.read_bytes()[:-5]),
    "a slice whose pixels are missing": lambda f: f.write_bytes(f.read_bytes()[:400]),
    "a slice that ends in its header": lambda f: f.write_bytes(f.read_bytes()[:190]),
    "an empty slice": lambda f: f.write_bytes(b""),
    "a text that is called a slice": lambda f: f.rename(f.with_suffix(".dcm")).write_bytes(b"text"),
    "a header that is zeros": lambda f: f.write_bytes(f.read_bytes()[:132] + bytes(400)),
    "a slice in place of all": lambda f: [x.unlink() for x in f.parent.iterdir() if x != f],
    "a folder without slices": lambda f: [x.unlink() for x in f.parent.iterdir()],
    "a pipe in place of all": lambda f: [
        *(x.unlink() for x in f.parent.iterdir()),
        os.mkfifo(f.with_suffix(".dcm")),
    ],
}


def case(change):
    """A folder with one series of five slices, 2 mm apart, which `change` spoils."""

    def build(folder):
        changes = {} if callable(change) else change
        series = folder / "scans" / "one"
        write_series(series, [PIXELS] * 5, "s{}", apart=2, changes=changes)
        if callable(change):
            change(series / "s2")
        return COMMAND

    return build


CASES = {words: case(change) for words, change in (ELEMENTS | FILES).items()}
