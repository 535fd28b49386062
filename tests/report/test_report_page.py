"""The page: self-contained, escaped, complete, and the same for the same run."""

import ast
import base64
import dataclasses
import tomllib
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from networks import labels_of, network_of
from reported import evaluation, extension, log, results, similarity_of, stage

from assl_jax import report
from assl_jax.records import Best, Iteration
from assl_jax.report import RunRecord, TaskExamples, report_of, write_report
from assl_jax.report.html import to_html
from assl_jax.tasks import TASKS, Label, ProxyTask

EVIL = '<script>alert("x")</script><b>&"'
VOID = {"meta", "link", "img", "br"}
ATTRIBUTES = {"lang", "charset", "name", "content", "rel", "href", "class", "role", "aria-label"}
ATTRIBUTES |= {"tabindex", "src", "alt", "scope", "open", "aria-hidden"}


class Page(HTMLParser):
    """Collects what the tests look at; fails on tags that do not match."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.resources, self.alts, self.text = [], [], [], [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.resources += [attributes[k] for k in ("src", "href", "srcset") if k in attributes]
        assert set(attributes) <= ATTRIBUTES, attributes
        if tag == "img":
            self.alts.append(attributes["alt"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data


@pytest.fixture(scope="module")
def hostile_task():
    """A proxy task whose title is HTML."""
    with pytest.MonkeyPatch.context() as patch:
        label = Label(title=EVIL, short=EVIL, summary=EVIL, colour="#123456")
        evil = type("Evil", (ProxyTask,), {"name": "evil", **label._asdict()})
        patch.setitem(TASKS, "evil", dataclasses.dataclass(frozen=True)(evil))
        yield "evil"


@pytest.fixture(scope="module")
def run(hostile_task):
    """A search; names of the data, classes, tasks and files are HTML."""
    scratch = evaluation(50, 2, runs=[48, 52], selection=40)
    simclr = evaluation(60, 1, runs=[60], selection=50)
    joined = evaluation(65, 1, selection=45)
    other = extension(("simclr",), hostile_task, 0.25, joined, 0.575)
    step = Iteration(
        pool=("simclr",),
        candidates=(other,),
        chosen=other.task,
        accepted=False,
        criterion="ours",  # of another package
    )
    found = results(
        data=EVIL,
        seed=3,
        labels=100,
        classes=(EVIL, "b"),
        scratch=scratch,
        singles={"simclr": simclr, hostile_task: evaluation(55, float("nan"))},
        similarity=similarity_of(("simclr", hostile_task), ((1.0, 0.25), (0.25, 1.0))),
        iterations=(step,),
        best=Best(network=network_of("simclr"), evaluation=simclr),
        skipped=(f"{EVIL}.png: not an image",),
    )
    losses = [{"loss": 1 / (i + 1)} for i in range(5)]
    images = np.linspace(0, 1, 2 * 4 * 4 * 3).reshape(2, 4, 4, 3)
    views = np.stack([images] * 2, 1)
    metrics = [
        *log("simclr", losses),
        *log("simclr", losses, kind="finetune", task="target"),
    ]
    stages = [stage(EVIL)]
    return RunRecord(
        results=found,
        config={"data": {"name": EVIL, "size": 32}, EVIL: {}, "seed": 3},
        environment={"jax": "0.10", "command": f"python main.py --config={EVIL}"},
        metrics=metrics,
        stages=stages,
        labels=labels_of([*metrics, *stages]),
        examples={
            "simclr": TaskExamples(images, views, [EVIL, ""]),
            hostile_task: TaskExamples(images[:1], views[:1], [""]),
        },
    )


def html_of(run):
    return to_html(report_of(run))


@pytest.fixture(scope="module")
def written(tmp_path_factory, run):
    """The path of the page."""
    return write_report(tmp_path_factory.mktemp("run") / "deep" / "a", run)


@pytest.fixture(scope="module")
def html(written):
    return written.read_text(encoding="utf-8")


def test_every_resource_is_inline(html):
    page = Page(html)
    assert page.resources and all(r.startswith("data:") for r in page.resources)
    assert "url(" not in html and "@import" not in html and "http" not in html
    assert not {"iframe", "object", "form"} & set(page.tags)
    assert page.tags.count("script") == html.count("<script>") == 1
    kinds = [r.split(";")[0].removeprefix("data:image/") for r in page.resources[1:]]
    assert kinds.count("svg+xml") == 5  # accuracy, similarity, two of losses, time
    assert kinds.count("png") == 6  # three originals, three strips of views
    for resource in page.resources[1:]:
        data = base64.b64decode(resource.split("base64,")[1], validate=True)
        if "svg" in resource[:20]:
            assert ET.fromstring(data).tag.endswith("svg")
        else:
            assert data.startswith(b"\x89PNG")


def test_images_have_alternative_texts_and_the_page_its_landmarks(html):
    page = Page(html)
    assert len(page.alts) == 11 and all(len(alt) > 10 for alt in page.alts)
    assert "SimCLR, 2 views" in page.alts and page.tags.count("figcaption") == 1
    assert page.tags.count("h1") == page.tags.count("main") == page.tags.count("title") == 1
    assert '<html lang="en">' in html and 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html
    assert "nan" not in page.text.lower() and "none" not in page.text.lower()


def test_the_headline_comes_first_and_the_sections_follow(html):
    page = Page(html)
    parts = [
        "The search kept SimCLR alone: 60.0 ± 1.0 % against 50.0 ± 2.0 % from scratch",
        "Fine-tuning with 100 labels",
        "MT-ASSL search",
        "came next (similarity to SimCLR 0.2500)",
        "below 50.00 %, so the search stopped.",
        "Similarity between features (biased estimator, layer pooled, 64 images)",
        "Two random views",
        "moving mean",
        "1 file, with reasons",
        "python main.py",
        "Weights of the backbone: backbone",
        "data.size",
    ]
    places = [page.text.index(part, page.text.index("seed 3")) for part in parts]
    assert places == sorted(places)


def test_hostile_names_are_text(html):
    page = Page(html)
    assert "b" not in page.tags and page.tags.count("script") == 1
    assert html.count("<script") == 1 and "<b>" not in html
    assert 'alert("x")' not in html  # in attributes too, quotes are escaped
    for text in (
        f"data {EVIL}",  # the data
        f"SimCLR + {EVIL}",  # the task
        f"{EVIL} came next (similarity to SimCLR",
        f"{EVIL}.png: not an image",
        f"python main.py --config={EVIL}",
        f"data.name{EVIL}",
    ):
        assert text in "".join(page.text.split("\n")), text
    assert f"{EVIL}, 2 views" in page.alts and f"SimCLR, 2 views: {EVIL}" in page.alts


def test_same_run_same_bytes_and_nothing_left_behind(written, run, tmp_path):
    assert written.parts[-3:] == ("deep", "a", "index.html")
    (tmp_path / "index.html").write_text("an older report")
    second = write_report(tmp_path, run)
    for folder in (written.parent, second.parent):
        assert sorted(p.name for p in folder.iterdir()) == ["index.html", "tables.md"]
    for name in ("index.html", "tables.md"):
        assert (written.parent / name).read_bytes() == (second.parent / name).read_bytes()


def test_missing_sections_are_left_out():
    found = results(
        experiment="pretrain",
        scratch=evaluation(50, 10, selection=50),
        best=Best(network=network_of("simclr"), evaluation=evaluation(60, 10, selection=60)),
    )
    for some, images in ((results(), 0), (found, 1)):
        shown = Page(html_of(RunRecord(some)))
        headings = ("Search", "Training curves", "Time", "Pairs", "Similarity of", "Files left out")
        assert not any(heading in shown.text for heading in headings)
        outcome = "SimCLR: 60.0 ± 10.0 % against 50.0 ± 10.0 %"
        assert (outcome in shown.text) == bool(images)
        assert shown.tags.count("img") == images


def test_volumes_are_shown_in_three_planes_and_many_views_thinned_out(html):
    volumes = np.linspace(0, 1, 2 * 4 * 6 * 6).reshape(2, 4, 6, 6, 1)
    examples = {
        "cpc": TaskExamples(volumes, np.stack([volumes[:, :2, :3, :3]] * 27, 1), ["", "class 3"]),
        "models_genesis": TaskExamples(volumes, volumes[:, None], ["", ""]),
    }
    shown = Page(html_of(RunRecord(results(), examples=examples)))
    assert shown.text.count("axial, coronal, sagittal") == 1
    assert "axial" not in Page(html).text
    assert shown.text.count("10 of 27 views are shown") == 1
    assert shown.alts == [
        *("Original volume", "CPC, 10 of 27 views"),
        *("Original volume", "CPC, 10 of 27 views: class 3"),
        *("Original volume", "Models Genesis, 1 view") * 2,
    ]


def test_only_the_papers_values_name_tasks():
    """Titles, colours and summaries are the tasks' own, so that a new task needs no change here."""
    for path in Path(report.__file__).parent.glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
        assert not texts & set(TASKS) or path.name == "paper.py", path


def test_templates_and_words_are_part_of_the_package():
    """An installed package has them: setuptools copies what `package-data` names."""
    root = Path(__file__).parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    package, copied = root / "assl_jax", set()
    for name, patterns in settings["tool"]["setuptools"]["package-data"].items():
        folder = root.joinpath(*name.split("."))
        copied |= {path for pattern in patterns for path in folder.glob(pattern)}
    others = {path for path in package.rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert copied == others and package / "report" / "paper.toml" in others
