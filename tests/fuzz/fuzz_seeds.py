"""Valid files of every format, several variants each: `{variant: {file name: content}}`."""

import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from assl_jax import records
from assl_jax.records.base import encode

Files = dict[str, bytes]
Seeds = dict[str, Files]
HU = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)


def images() -> Seeds:
    from PIL import Image

    rng = np.random.default_rng(0)
    colours = np.kron(rng.integers(0, 256, (3, 4, 3)), np.ones((3, 3, 1))).astype(np.uint8)
    rgb = Image.fromarray(colours)
    grey, deep = rgb.convert("L"), Image.fromarray(colours[..., 0].astype(np.uint16) * 257)
    clear = Image.fromarray(np.dstack([colours, colours[..., :1]]))
    real = Image.fromarray(colours[..., 0].astype(np.float32))
    pages = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees

    def save(image: Any, ending: str, **options: Any) -> Files:
        content = io.BytesIO()
        image.save(content, Image.registered_extensions()[f".{ending}"], **options)
        return {f"a.{ending}": content.getvalue()}

    return {
        "png": save(rgb, "png"),
        "png grey": save(grey, "png"),
        "png black and white": save(grey.convert("1"), "png"),
        "png palette": save(rgb.convert("P"), "png", transparency=3),
        "png alpha": save(clear, "png"),
        "png 16 bits": save(deep, "png"),
        "apng": save(rgb, "apng", **pages),
        "jpeg": save(rgb, "jpg"),
        "jpeg grey": save(grey, "jpg"),
        "jpeg cmyk": save(rgb.convert("CMYK"), "jpg"),
        "jpeg progressive": save(rgb, "jpg", progressive=True, exif=exif, dpi=(72, 72)),
        "gif": save(rgb, "gif"),
        "gif pages": save(rgb, "gif", **pages),
        "tiff": save(rgb, "tif"),
        "tiff lzw": save(rgb, "tif", compression="tiff_lzw"),
        "tiff deflate": save(grey, "tif", compression="tiff_adobe_deflate"),
        "tiff jpeg": save(rgb, "tif", compression="jpeg"),
        "tiff fax": save(grey.convert("1"), "tif", compression="group4"),
        "tiff pages": save(rgb, "tif", **pages),
        "tiff float": save(real, "tif"),
        "tiff 16 bits": save(deep, "tif"),
        "tiff palette": save(rgb.convert("P"), "tif", exif=exif),
        "bmp": save(rgb, "bmp"),
        "dib palette": save(rgb.convert("P"), "dib"),
        "ppm": save(rgb, "ppm"),
        "pgm 16 bits": save(deep, "pgm"),
        "pfm": save(real, "pfm"),
        "tga": save(rgb, "tga", compression="tga_rle"),
        "pcx": save(rgb.convert("P"), "pcx"),
        "webp": save(rgb, "webp"),
        "webp lossless": save(clear, "webp", lossless=True),
        "webp pages": save(rgb, "webp", **pages),
        "jpeg 2000": save(rgb, "jp2"),
        "avif": save(rgb, "avif", speed=10),
    }


def nifti() -> Seeds:
    import nibabel as nib

    affine = np.diag([0.5, 0.75, 2.0, 1.0])
    affine[:3, 3] = 7, -11, 13

    def save(array: Any, kind: Any = nib.Nifti1Image, slope: float = 1, **options: Any) -> bytes:
        image = kind(array, affine)
        image.header.set_xyzt_units("mm")
        image.header.set_slope_inter(slope, 0)
        for name, value in options.items():
            setattr(image, name, value)
        return image.to_bytes()

    plain, holes = save(HU), HU.astype(np.float32)
    holes[0, 0] = np.nan
    note = nib.Nifti1Image(HU, affine)
    note.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a note"))
    swapped = nib.Nifti1Header(endianness=">")
    return {
        "int16": {"a.nii": plain},
        "int16 packed": {"a.nii.gz": gzip.compress(plain, mtime=0)},
        "NIfTI-2": {"a.nii": save(HU, nib.Nifti2Image)},
        "NIfTI-2 packed": {"a.nii.gz": gzip.compress(save(HU, nib.Nifti2Image), mtime=0)},
        "uint8 scaled": {"a.nii": save((HU % 256).astype(np.uint8), slope=0.5)},
        "float32 with NaN": {"a.nii": save(holes)},
        "float64": {"a.nii": save(HU.astype(np.float64))},
        "one more axis": {"a.nii": save(HU[..., None])},
        "extension": {"a.nii": note.to_bytes()},
        "big-endian": {"a.nii": nib.Nifti1Image(HU.astype(">i2"), affine, swapped).to_bytes()},
        "two": {"a.nii": plain, "b.nii.gz": gzip.compress(plain, mtime=0)},
    }


def other_volumes() -> Seeds:
    """All formats but NIfTI in one piece and DICOM."""
    from volume_writers import SIZES, WRITERS

    found: Seeds = {}
    for name, write in WRITERS.items():
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / name, HU, np.diag([*SIZES, 1.0]))
            found[name] = {f.name: f.read_bytes() for f in sorted(Path(folder).iterdir())}
    del found["a.nii.gz"]
    return found


def dicom() -> Seeds:
    from dicom_writers import dicom_bytes, enhanced
    from pydicom import uid

    def series(array: Any = HU, name: str = "IM", **elements: Any) -> Files:
        return {
            f"{name}{k}": dicom_bytes(pixels, ImagePositionPatient=[0, 0, k], **elements)
            for k, pixels in enumerate(array[:3])
        }

    frames, elements = enhanced(HU)
    return {
        "series": series(RescaleSlope=1, RescaleIntercept=-1024),
        "implicit": series(syntax=uid.ImplicitVRLittleEndian, RescaleSlope=0.5),
        "8 bits": series((HU % 256).astype(np.uint8)),
        "run-length": series(syntax=uid.RLELossless),
        "deflated": series(syntax=uid.DeflatedExplicitVRLittleEndian),
        "enhanced": {"a.dcm": dicom_bytes(frames, **elements)},
        "enhanced run-length": {"a.dcm": dicom_bytes(frames, syntax=uid.RLELossless, **elements)},
        "two series": series() | series(name="B", SeriesInstanceUID="1.2.4"),
    }


def x_rays() -> Seeds:
    from dicom_writers import XRAY, dicom_bytes, item
    from pydicom import uid

    grey = np.random.default_rng(0).integers(0, 4096, (6, 7)).astype(np.uint16)
    colours = np.random.default_rng(0).integers(0, 256, (6, 7, 3)).astype(np.uint8)
    deep: dict[str, Any] = XRAY | {"BitsStored": 12}
    colour = XRAY | {"Rows": 6, "Columns": 7, "SamplesPerPixel": 3, "PlanarConfiguration": 0}
    table = {"LUTDescriptor": [4096, 0, 12], "LUTData": (np.arange(4096) // 2).tolist()}
    lut = item(**table)
    for name in table:
        lut[name].VR = "US"
    window = {"WindowCenter": [2000, 9], "WindowWidth": [900, 9]}
    low = {"PhotometricInterpretation": "MONOCHROME1"}
    plain = dicom_bytes(grey, syntax=uid.ImplicitVRLittleEndian, **deep)
    found = {
        "no window": dicom_bytes(grey, **deep),
        "window": dicom_bytes(grey, **deep | window),
        "table": dicom_bytes(grey, VOILUTSequence=[lut], **deep | low),
        "8 bits": dicom_bytes(colours[..., 0], **XRAY | low),
        # The file meta information ends where the first element of group 8 begins.
        "no preamble": plain[plain.index(b"\x08\0\x08\0", 132) :],
        "run-length": dicom_bytes(grey, syntax=uid.RLELossless, **deep),
        "colours": dicom_bytes(colours, **colour | {"PhotometricInterpretation": "RGB"}),
        "brightness": dicom_bytes(colours, **colour | {"PhotometricInterpretation": "YBR_FULL"}),
        "frames": dicom_bytes(np.stack([grey] * 3), NumberOfFrames=3, **deep),
    }
    bare = ("8 bits", "no preamble")
    return {name: {"a" if name in bare else "a.dcm": file} for name, file in found.items()}


def npz() -> Seeds:
    def save(pack: Any = np.savez, **changes: Any) -> Files:
        n = np.arange(8)
        arrays: dict[str, Any] = {
            "train_images": np.resize(HU % 251, (8, 5, 6)).astype(np.uint8),
            "train_labels": n % 2,
            "test_images": np.resize(HU % 241, (4, 5, 6)).astype(np.uint8),
            "test_labels": n[:4] % 2,
        }
        file = io.BytesIO()
        pack(file, **{k: a for k, a in (arrays | changes).items() if a is not None})
        return {"a.npz": file.getvalue()}

    volumes = np.resize(HU, (8, 6, 6, 6))
    return {
        "uint8": save(),
        "packed": save(np.savez_compressed),
        "int16 volumes": save(train_images=volumes, test_images=volumes[:4]),
        "float": save(
            train_images=np.resize(HU, (8, 5, 6)) / 7.0, test_images=np.resize(HU, (4, 5, 6)) / 7.0
        ),
        "big-endian": save(
            train_images=np.resize(HU, (8, 5, 6)).astype(">i4"),
            test_images=np.resize(HU, (4, 5, 6)).astype(">i8"),
        ),
        "texts": save(
            np.savez_compressed,
            train_labels=np.array(["cat", "dog"] * 4),
            test_labels=np.array(["cat", "dog"] * 2),
        ),
        "names": save(class_names=np.array(["cat", "dog"]), val_images=np.zeros((2, 5, 6), "u1")),
        "float labels": save(train_labels=np.array([0, 1, np.nan, 0, 1, 0, 1, 1])),
        "fortran": save(train_images=np.asfortranarray(np.resize(HU % 9, (8, 5, 6)).astype("u2"))),
        "masks": save(train_images=volumes > 0, test_images=volumes[:4] > 0),
    }


def csv() -> Seeds:
    from PIL import Image

    picture = io.BytesIO()
    Image.new("L", (4, 4), 7).save(picture, "png")
    pictures = {f"{k}.png": picture.getvalue() for k in range(6)}
    names = ["path", "label", "split", "patient"]
    rows = [
        [f"{k}.png", ["cat", "Hündin"][k % 2], ["train", "test"][k // 4], f"p{k}"] for k in range(6)
    ]

    def table(delimiter: str = ",", end: str = "\n", columns: int = 4) -> str:
        return end.join(delimiter.join(cells[:columns]) for cells in [names, *rows]) + end

    texts = {
        "plain": table().encode(),
        "without splits": table(columns=2).encode(),
        "semicolons": table(";", "\r\n").encode(),
        "tabs": table("\t").encode("utf-8-sig"),
        "UTF-16": table().encode("utf-16"),
        "Windows": table("|", "\r\n").encode("cp1252"),
        "Excel": ("sep=;\r\n" + table(";", "\r\n")).encode(),
        "quotes": table('","').replace("\n", '"\n"').join('""').encode(),
        "numbers": table().replace("cat", "1").replace("Hündin", "2.0").encode(),
        "unlabeled": table().replace("2.png,cat", "2.png,NA").encode(),
        "patients": b"path,patient\n" + b"".join(b"%d.png,p\n" % k for k in range(6)),
    }
    return {name: {"a.csv": text, **pictures} for name, text in texts.items()}


def safetensors() -> Seeds:
    import jax
    from safetensors.numpy import save
    from tinynet import TinyNet

    from assl_jax.interop.weights import to_own, to_torch
    from assl_jax.models import make_backbone

    rng = np.random.default_rng(0)

    def weights(net: Any) -> Any:
        image = jax.ShapeDtypeStruct((1, 8, 8, 3), np.float32)
        shapes = jax.eval_shape(net.init, jax.random.key(0), image)
        return jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(x.dtype), shapes)

    tiny = to_own(weights(TinyNet(width=0.25)))
    small = make_backbone(name="resnet10", width=0.0625)
    kinds = (np.float64, np.float16, np.int64, np.int32, np.uint8, np.bool_, np.complex64)
    return {
        name: {"a.safetensors": save(arrays)}
        for name, arrays in {
            "own": tiny,
            "half": {k: a.astype(np.float16) for k, a in tiny.items()},
            "torchvision": to_torch(small, weights(small), "torchvision"),
            "inside": {
                f"module.{name}": a for name, a in to_torch(small, weights(small), "timm").items()
            },
            "types": {t.__name__: np.ones((2, 3), t) for t in kinds},
            "empty": {},
        }.items()
    }


RECORDS: dict[str, Any] = {
    records.RESULTS: records.Results,
    records.PROBES: records.Probes,
    records.DONE: records.StageRecord,
    records.BACKBONE: records.BackboneRecord,
    records.MODEL: records.ModelRecord,
}


def example(info: Any, inside: tuple[type, ...] = ()) -> Any:
    """A value of a type with every optional field; inside itself it has none of them."""
    from msgspec import inspect

    kind = type(info)
    if kind is inspect.UnionType:
        first = next(t for t in info.types if not isinstance(t, inspect.NoneType))
        return example(first, inside)
    if kind in (inspect.StructType, inspect.DataclassType):
        fields = [field for field in info.fields if field.required or info.cls not in inside]
        inside = (*inside, info.cls)
        own = {field.encode_name: example(field.type, inside) for field in fields}
        return own | ({info.tag_field: info.tag} if getattr(info, "tag_field", None) else {})
    if kind is inspect.DictType:
        return {"accuracy": example(info.value_type, inside)}
    if kind in (inspect.VarTupleType, inspect.ListType):
        return [example(info.item_type, inside)] * 2
    if kind is inspect.TupleType:
        return [example(each, inside) for each in info.item_types]
    values = {inspect.IntType: 1, inspect.FloatType: 0.5, inspect.StrType: "src"}
    return values.get(kind, True)


def json_records() -> Seeds:
    found = {}
    for name, kind in RECORDS.items():
        tree = example(msgspec.inspect.type_info(kind)) | {"version": records.VERSION}
        if "backbone" in tree:
            tree["backbone"] = {"name": "resnet10", "width": 0.0625, "delay": [1, 2]}
        found[name] = {name: json.dumps(tree).encode()}
        found[f"{name} sealed"] = {name: encode(tree)}
    settings = {"tasks": ["src", "rotation"], "data": {"side": 16, "path": ""}, "steps": 1e3}
    for name in (records.CONFIG, records.ENVIRONMENT):
        found[name] = {name: json.dumps(settings).encode()}
    line = records.LogRecord(
        stage="s", kind="pretrain", label="src", task="src", step=3, values={"loss": 0.5}
    ).to_line()
    return found | {"metrics.jsonl": {"metrics.jsonl": f"{line}\n".encode() * 3}}


def stl10() -> Seeds:
    from data_sets import archive

    rng = np.random.default_rng(0)
    counts = {"unlabeled": 1, "train": 3, "test": 2}
    files = {
        f"{split}_X.bin": rng.integers(0, 256, n * 27648, np.uint8).tobytes()
        for split, n in counts.items()
    }
    files |= {"train_y.bin": bytes([1, 2, 1]), "test_y.bin": bytes([2, 1])}
    files |= {"class_names.txt": b"bird\ncat\n", "fold_indices.txt": b"0 2\n1 0\n"}
    plain = archive(files, "w")
    packed = gzip.compress(plain, 1, mtime=0)
    return {
        "folder": files,
        "labels": {k: files[k] for k in reversed(files)},
        "archive": {"stl10_binary.tar.gz": packed},
        "plain archive": {"stl10_binary.tar.gz": plain},
    }
