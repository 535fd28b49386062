"""Folders of images that a run refuses."""

import os

from PIL import Image

TOPIC = "Folders of images"
COMMAND = (
    *("run", "mtassl_folder:small", "--config.data.path=FOLDER/photos", "--config.data.cache="),
    *("--workdir=FOLDER/work", "--config.data.side=16", "--config.tasks=rotation"),
    *("--config.backbone.width=0.0625", "--config.pretrain.batch_size=8"),
    *("--config.target.batch_size=8", "--config.target.folds=2", "--noconfig.keep_compiled"),
)


def save(file, size=(16, 16), value=0, mode="RGB"):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(file)


def photos(*names, per=4):
    """Folders with a few images each."""

    def make(root):
        root.mkdir()
        for name in names:
            for i in range(per):
                save(root / name / f"{i}.png")

    return make


def case(make, *settings):
    """`make` writes the folder; `settings` are added to the command."""

    def build(folder):
        make(folder / "photos")
        return [*COMMAND, *(f"--config.{each}" for each in settings)]

    return build


BOTH = photos("train/cat", "train/dog")
NAME = os.fsdecode(b"caf\xe9")


def linked_to_itself(root):
    root.symlink_to(root)


def pipe(root):
    os.mkfifo(root)


def file_in_place(root):
    root.touch()


def unreadable(root):
    BOTH(root)
    (root / "train" / "cat").chmod(0)


def nothing(root):
    root.mkdir()


def empty_class(root):
    BOTH(root)
    (root / "train" / "cow").mkdir()


def text_in_class(root):
    BOTH(root)
    (root / "train" / "cow").mkdir()
    (root / "train" / "cow" / "a.txt").touch()


def pipe_in_class(root):
    BOTH(root)
    (root / "train" / "cow").mkdir()
    os.mkfifo(root / "train" / "cow" / "a.png")


def dangling(root):
    BOTH(root)
    (root / "train" / "cat" / "gone.png").symlink_to("nowhere.png")


def empty_file(root):
    BOTH(root)
    (root / "train" / "cat" / "z.png").touch()


def other_sizes(root):
    BOTH(root)
    save(root / "train" / "dog" / "z.png", size=(16, 12))


def grey_and_colour(root):
    BOTH(root)
    save(root / "train" / "dog" / "z.png", mode="L")


def loose(root):
    BOTH(root)
    (root / "train" / "cat").rename(root / "cat")
    (root / "train" / "dog").rename(root / "dog")
    save(root / "train" / "0.png")


def masks(root):
    photos("images", "masks")(root)


def pairs(root):
    BOTH(root)
    (root / "train" / "dog").rename(root / "train" / "masks")
    (root / "train" / "cat").rename(root / "train" / "images")


CASES = {
    "no `data.path`": case(nothing, "data.path="),
    "a folder that is not there": case(nothing, "data.path=FOLDER/nowhere"),
    "a home folder of nobody": case(nothing, "data.path=~nobody9/photos"),
    "a file in place of the folder": case(file_in_place),
    "a pipe in place of the folder": case(pipe),
    "a link to itself": case(linked_to_itself),
    "an empty folder": case(nothing),
    "one class": case(photos("train/cat")),
    "one class, without train/": case(photos("cat")),
    "test images and no training images": case(photos("test/cat", "test/dog")),
    "images and their masks": case(masks),
    "images and their masks in train/": case(pairs),
    "two folders of training images": case(photos("train/cat", "Training/dog")),
    "train/ without class folders": case(loose),
    "train/ and test/ inside the classes": case(photos("cat/train", "cat/test", "dog/train")),
    "a class without images": case(empty_class),
    "a class folder with texts": case(text_in_class),
    "a pipe in place of an image": case(pipe_in_class),
    "a link to nothing": case(dangling),
    "an empty file": case(empty_file),
    "unlabeled/ without images": case(
        lambda root: (BOTH(root), (root / "unlabeled").mkdir()),
    ),
    "a test class that has no training images": case(
        photos("train/cat", "train/dog", "test/cat", "test/dog", "test/cow")
    ),
    "a class without test images": case(photos("train/cat", "train/dog", "test/cat")),
    "classes that differ in upper and lower case": case(photos("train/cat", "train/Cat")),
    "a class whose name is not UTF-8": case(photos("train/cat", f"train/{NAME}")),
    "one image of each class": case(photos("train/cat", "train/dog", per=1)),
    "fewer labels than folds": case(photos("train/cat", "train/dog", per=8), "target.folds=9"),
    "fewer labels than classes": case(BOTH, "data.labels=1"),
    "more labels than images": case(BOTH, "data.labels=50"),
    "labels asked for, and only unlabeled images": case(photos("unlabeled"), "data.labels=4"),
    "only unlabeled images, in a search": case(photos("unlabeled", per=9)),
    "images of several sizes": case(other_sizes, "data.side=0"),
    "grey images and colour images": case(grey_and_colour, "data.channels=0"),
    "images smaller than the network needs": case(
        photos("train/cat", "train/dog", per=8), "data.side=2"
    ),
    "two channels": case(BOTH, "data.channels=2"),
    "a window without a width": case(BOTH, "data.window=(5,5)"),
    "a window of three numbers": case(BOTH, "data.window=(0,1,2)"),
    "a window of texts": case(BOTH, "data.window=('a','b')"),
    "a window that is not finite": case(BOTH, "data.window=(0,1e999)"),
    "a window for images of 8 bits": case(BOTH, "data.window=(0,4095)"),
    "all images for testing": case(BOTH, "data.test_fraction=1"),
    "an unknown use of validation images": case(BOTH, "data.val=training"),
    "an unknown answer to errors": case(BOTH, "data.on_error=ignore"),
    "a patient pattern that is none": case(BOTH, "data.patient=(["),
    "a patient pattern that finds an unknown one": case(
        photos("train/na", "train/dog"), "data.patient=([a-z]+)/[0-9]"
    ),
    "a patient pattern that finds nothing": case(BOTH, "data.patient=p[0-9]+"),
    "a patient in training and test": case(
        photos("train/cat", "train/dog", "test/cat", "test/dog"), "data.patient=([0-9]).png"
    ),
    "a pattern with one patient for all": case(BOTH, "data.patient=train"),
    "a cache below a file": case(BOTH, "data.cache=FOLDER/photos/train/cat/0.png/cache"),
    "fewer images than a batch": case(BOTH, "pretrain.batch_size=16"),
    "too few images": case(photos("train/cat", "train/dog", per=2)),
}
if os.geteuid():  # root may read everything
    CASES["a class folder that may not be read"] = case(unreadable)
