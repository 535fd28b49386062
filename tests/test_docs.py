"""The Python examples of README and docs run as printed, and what the pages name exists."""

import pkgutil
import re
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest
from doc_pages import PAGES, ROOT, blocks, words_in_code

from assl_jax.commands.list import settings_page
from assl_jax.store import GROUP

# `tests/interop` runs those that need PyTorch.
PYTHON = {
    page: [block for block in blocks(page, "python") if "import torch" not in block]
    for page in PAGES
}


@pytest.fixture
def finished_run(tmp_path, monkeypatch):
    """The run `runs/mtassl_digits`, as far as its backbone is read, and images; nothing trains."""
    from assl_jax.evaluation.export import export_backbone
    from assl_jax.models import make_backbone
    from assl_jax.ops.intensity import Intensity

    monkeypatch.chdir(tmp_path)
    # They would train. `arrays` is first, since it imports the other.
    for name in ("assl_jax.arrays.run", "assl_jax.experiment.run"):
        monkeypatch.setattr(name, lambda *_, **__: mock.Mock())
    settings = {"name": "resnet10", "width": 1 / 16, "stem": "half"}
    images = np.zeros((2, 16, 16, 1), np.uint8)
    export_backbone(
        Path("runs/mtassl_digits/backbone"),
        make_backbone(**settings).init(jax.random.key(0), Intensity()(images)),
        settings=settings,
        intensity=Intensity(),
        pool=("rotation",),
    )
    few, classes = np.zeros((4, 16, 16, 1), np.uint8), np.array([0, 0, 1, 1])
    labelled = {"few": few, "classes": classes, "others": few, "their_classes": classes}
    return {"images": images, "unlabeled": images, **labelled}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page == "docs/python.md" else [])
        for page in PAGES
        if PYTHON[page]
    ],
)
def test_python_examples(page, finished_run):
    """The blocks of a page in their order, each with what those before it define."""
    from assl_jax.models import BACKBONES
    from assl_jax.tasks import TASKS

    scope = {"__name__": "page", **finished_run}
    with mock.patch.dict(TASKS), mock.patch.dict(BACKBONES):  # what is registered leaves again
        for block in PYTHON[page]:
            exec(compile(block, page, "exec"), scope)


def test_functions_in_a_sentence_and_in_the_api_exist():
    names = [
        found[1]
        for page in PAGES
        for text in words_in_code(page)
        if (found := re.match(r"(assl_jax(?:\.\w+)+)(?:\(|$)", text))
    ]
    assert "assl_jax.records.read" in names
    names += re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    for name in {*names} - {GROUP}:  # no module, the group of entry points
        assert pkgutil.resolve_name(name), name


def test_the_readme_is_short_and_begins_with_the_two_commands():
    text = (ROOT / "README.md").read_text()
    run, test = re.search(r"```bash\n(.*?)```", text, re.DOTALL)[1].splitlines()
    assert "main.py --config=configs/mtassl_digits.py" in run and "-m pytest" in test
    assert text.count("\n") <= 150


def anchors(page):
    """The anchors of a page's headings, as the site makes them."""
    titles = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", title.lower()).strip() for title in titles]
    return {re.sub(r"[-\s]+", "-", title) for title in plain}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", (ROOT / page).read_text(encoding="utf-8"))
    for file, anchor in links:
        target = (ROOT / page).parent / file if file else ROOT / page
        made = target.parent.name == "notebooks" and target.suffix == ".md"  # by docs/hooks.py
        assert target.exists() or (made and target.with_suffix(".ipynb").exists()), file
        assert not anchor or anchor in anchors(target.relative_to(ROOT)), f"{file}#{anchor}"


def test_the_site_has_every_page():
    named = re.findall(r": (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(f"docs/{name}" for name in named) == sorted({*PAGES} - {"README.md"})


def test_what_the_documents_name_exists():
    written_by_the_reader = {"assl_jax/models/densenet.py"}
    for page in (*PAGES, "CONTRIBUTING.md", "tests/files/errors.md"):
        text = (ROOT / page).read_text()
        for name in re.findall(r"configs/\w+\.py|benchmarks/\w+\.py|docs/[\w/]+\.\w+", text):
            assert (ROOT / name).exists(), (page, name)
        for name in set(re.findall(r"`((?:\w+/)+\w+\.py)", text)) - written_by_the_reader:
            assert (ROOT / name).exists() or (ROOT / "assl_jax" / name).exists(), (page, name)


def test_the_page_of_settings_is_current():
    """`python -m assl_jax list --settings > docs/settings.md` mends it."""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_page()
