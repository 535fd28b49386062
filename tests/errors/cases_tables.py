"""Tables (CSV) that a run refuses."""

import os

from PIL import Image

TOPIC = "Tables (CSV)"
COMMAND = (
    *("run", "mtassl_folder", "--config.data.path=FOLDER/photos", "--config.data.cache="),
    *("--workdir=FOLDER/work", "--config.tasks=rotation"),
    *("--config.data.csv=list.csv", "--config.pretrain.batch_size=8"),
    *("--config.target.batch_size=8", "--config.target.folds=2"),
)
GOOD = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(16))


def case(content, *settings):
    """`content` is the table: a text, bytes, or a function that makes the file."""

    def build(folder):
        (folder / "photos").mkdir()
        for i in range(16):
            Image.new("RGB", (16, 16)).save(folder / "photos" / f"{i}.png")
        table = folder / "photos" / "list.csv"
        if callable(content):
            content(table)
        else:
            table.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [*COMMAND, *(f"--config.{each}" for each in settings)]

    return build


CASES = {
    "a table that is not there": case(lambda file: None),
    "a folder": case(lambda file: file.mkdir()),
    "a pipe": case(os.mkfifo),
    "an empty table": case(""),
    "names of columns alone": case("path,label\n"),
    "no names of columns": case(GOOD),
    "no column path": case("file,label\n" + GOOD),
    "neither label nor patient": case("path,age\n0.png,3\n"),
    "a column of classes that is not called label": case("path,dx\n" + GOOD),
    "a column for each class": case(
        "path,mel,nv\n" + "".join(f"{i}.png,{i % 2},{1 - i % 2}\n" for i in range(16))
    ),
    "two classes for an image": case(
        "path,mel,nv\n0.png,1,1\n1.png,0,1\n", "data.columns=label=mel+nv"
    ),
    "a column that is not there": case("path,dx\n" + GOOD, "data.columns=label=diagnosis"),
    "a column without a name for it": case("path,label\n" + GOOD, "data.columns=dx"),
    "a name for something else": case("path,label\n" + GOOD, "data.columns=class=dx"),
    "a name for one thing twice": case("path,label\n" + GOOD, "data.columns=path=a,path=b"),
    "ages for labels": case("path,label\n" + "".join(f"{i}.png,{i}.5\n" for i in range(16))),
    "several findings in a label": case("path,label\n0.png,cat\n1.png,cat|dog\n2.png,dog\n"),
    "a name that two files have": case(
        lambda file: (
            file.write_text("path,label\nx,b\n" + GOOD),
            [Image.new("L", (4, 4)).save(file.with_name(f"x.{end}")) for end in ("png", "jpg")],
        )
    ),
    "two columns path": case("path,label,path\n0.png,a,1.png\n"),
    "more cells than columns": case("path,label\n0.png,a,b,c\n"),
    "a quote that is never closed": case('path,label\n"0.png,a\n' + "x" * 200_000),
    "a spreadsheet in place of text": case(b"PK\x03\x04" + bytes(99)),
    "UTF-16 that is cut off": case(("path,label\n" + GOOD).encode("utf-16")[:-1]),
    "UTF-16 without its mark": case(("path,label\n" + GOOD).encode("utf-16-le")),
    "a row without a path": case("path,label\n,a\n"),
    "a row without a patient": case("path,label,patient\n0.png,a,\n1.png,b,p\n"),
    "a row whose patient is unknown": case("path,label,patient\n0.png,a,p\n1.png,b,NA\n"),
    "a row without a split": case("path,label,split\n0.png,a,\n"),
    "an unknown split": case("path,label,split\n0.png,a,trian\n"),
    "a file that is listed twice": case("path,label\n0.png,a\n./0.png,b\n"),
    "a file that is not there": case("path,label\nnowhere.png,b\n" + GOOD),
    "a path outside the folder": case("path,label\n../list.txt,b\n" + GOOD),
    "a path with a null byte": case("path,label\n0\0.png,b\n" + GOOD),
    "a pipe in place of an image": case(
        lambda file: (
            file.write_text("path,label\npipe.png,b\n" + GOOD),
            os.mkfifo(file.with_name("pipe.png")),
        )
    ),
    "a folder in place of an image": case("path,label\n.,b\n" + GOOD),
    "one class": case("path,label\n0.png,a\n1.png,a\n"),
    "one class and empty labels": case("path,label\n0.png,a\n1.png,\n2.png,NA\n"),
    "no label at all": case("path,label\n" + "".join(f"{i}.png,\n" for i in range(16))),
    "a test image without a label": case("path,label,split\n0.png,,test\n1.png,a,train\n"),
    "classes that differ in case": case("path,label\n0.png,a\n1.png,A\n2.png,b\n"),
    "a patient in training and test": case(
        "path,label,split,patient\n0.png,a,train,p\n1.png,b,train,q\n2.png,a,test,p\n3.png,b,test,r\n"
    ),
    "a column patient and a pattern": case(
        "path,label,patient\n0.png,a,p\n1.png,b,q\n", "data.patient=[0-9]+"
    ),
    "one patient of each class": case("path,label,patient\n0.png,a,p\n1.png,b,q\n"),
    "fewer patients than folds": case(
        "path,label,patient\n"
        + "".join(f"{i}.png,{'ab'[i % 2]},{'pqrs'[i % 4]}\n" for i in range(16)),
        "pretrain.batch_size=8",
    ),
    "patients alone, and one image without a row": case("path,patient\n0.png,p\n"),
}
