"""DICOM files: single slices, series, and enhanced files of many frames."""

import io

import numpy as np
import pydicom

NO_PLACE = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))
NO_PIXELS = dict.fromkeys(("Rows", "Columns", "PixelData"))
SCOUT = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
REPORT = NO_PIXELS | {"kind": pydicom.uid.BasicTextSRStorage, "Modality": "SR"}
XRAY = NO_PLACE | {"kind": pydicom.uid.DigitalXRayImageStorageForPresentation, "Modality": "DX"}


def item(**elements):
    """A data set with some elements; None leaves one out."""
    found = pydicom.Dataset()
    for name, value in elements.items():
        if value is not None:
            setattr(found, name, value)
    return found


def dicom_bytes(pixels, *, syntax=None, kind=pydicom.uid.CTImageStorage, **elements):
    """One DICOM file. Pixels are run-length encoded if the syntax says it.

    Without other elements: a CT of 1 mm pixels, whose columns run to the left and rows backwards.
    """
    plain = pydicom.uid.ExplicitVRLittleEndian
    meta = pydicom.dataset.FileMetaDataset()
    pack = syntax == pydicom.uid.RLELossless
    meta.TransferSyntaxUID = plain if pack else syntax or plain
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    bits = 8 * pixels.dtype.itemsize
    standard = {
        "SOPClassUID": kind,
        "SOPInstanceUID": "1.2.3.4",
        "PatientName": "Secret^Name",
        "PatientID": "one",
        "SeriesInstanceUID": "1.2.3",
        "SeriesNumber": 7,
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, 0],
        "PixelSpacing": [1, 1],
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": (elements.get("BitsStored") or bits) - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
    }
    dataset = item(**standard | elements)
    dataset.file_meta = meta
    if pack:
        dataset.compress(syntax, generate_instance_uid=False)
    elif meta.TransferSyntaxUID.is_compressed:
        dataset["PixelData"].VR = "OB"
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def write_slice(file, pixels, **elements):
    """One file, see `dicom_bytes`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(dicom_bytes(pixels, **elements))
    return file


def write_series(folder, array, names="IM{}", *, apart=1, changes=None, **elements):
    """A file for each slice of an array, `apart` mm; `changes[k]` are the elements of slice k."""
    for k, pixels in enumerate(array):
        own = {"ImagePositionPatient": [0, 0, apart * k]} | elements | (changes or {}).get(k, {})
        write_slice(folder / names.format(k), own.pop("pixels", pixels), **own)
    return folder


def enhanced(array, *, shared_scale=True):
    """The pixels and the elements of a file of many frames, in reverse.

    Positions are in the frames, the rest is shared; voxels are 5 x 2 x 3 mm, the intercept is -24.
    """
    scale = {"PixelValueTransformationSequence": [item(RescaleSlope=1, RescaleIntercept=-24)]}
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[2, 3])],
        **scale if shared_scale else {},
    )
    frames = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, -5 * k])],
            **{} if shared_scale else scale,
        )
        for k in range(len(array))
    ]
    return np.ascontiguousarray(array[::-1]), NO_PLACE | {
        "NumberOfFrames": len(array),
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": frames,
    }


def write_enhanced(file, array, *, shared_scale=True, **elements):
    """An enhanced file, see `enhanced`."""
    pixels, own = enhanced(array, shared_scale=shared_scale)
    return write_slice(file, pixels, **own | elements)
