"""Which code a stage depends on, in a copy of the package that is edited."""

import shutil

import pytest

from assl_jax.evaluation.finetune import Target
from assl_jax.models import ResNet
from assl_jax.strategies import identity
from assl_jax.strategies.evaluating import Evaluating
from assl_jax.strategies.identity import Definition, code_digest, reach
from assl_jax.strategies.pretraining import Pretraining
from assl_jax.tasks import TASKS

ROOTS = {name: (Pretraining, TASKS[name]) for name in ("simclr", "rotation", "mcpc")}
ROOTS["finetune"] = (Evaluating,)


def digests() -> dict[str, str]:
    """By what is trained: the digests of the package as it is on disk now."""
    identity.code_digest.cache_clear()
    identity._module.cache_clear()
    return {name: code_digest(*roots) for name, roots in ROOTS.items()}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package that can be edited, and its digests before."""
    copy = tmp_path_factory.mktemp("package") / "assl_jax"
    shutil.copytree(identity.ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "ROOT", copy)
        yield copy, digests()
    digests()  # of the package itself, for the tests that follow


# A file, a text in it, what replaces it, and whose digest changes.
EDITS = {
    "a loss changes the tasks that call it": (
        "losses.py",
        "z = jnp.concatenate([_wide(a), _wide(b)])",
        "z = jnp.concatenate([_wide(b), _wide(a)])",
        {"simclr"},
    ),
    "a task changes itself": ("tasks/rotation.py", "= 1 / 8", "= 1 / 4", {"rotation"}),
    "a private helper counts": ("losses.py", "_RATIO_EPS = 1e-6", "_RATIO_EPS = 1e-5", {"mcpc"}),
    "the optimiser changes everything": (
        "training/optimiser.py",
        "math.cos(math.pi * progress)",
        "math.cos(3 * progress)",
        {"simclr", "rotation", "mcpc", "finetune"},
    ),
    "a metric changes what is evaluated": (
        "evaluation/scores.py",
        "hits = probabilities.argmax(1) == labels",
        "hits = probabilities.argmin(1) == labels",
        {"finetune"},
    ),
    "the name of a task changes itself": (
        "tasks/rotation.py",
        'name: ClassVar[str] = "rotation"',
        'name: ClassVar[str] = "turns"',
        {"rotation"},
    ),
}
# What changes no digest, all at once.
IRRELEVANT = {
    "a docstring": ("losses.py", '"""NT-Xent: tell', '"""NT-Xent, to tell'),
    "the summary of a task": ("tasks/rotation.py", "The network predicts", "It predicts"),
    "the colour of a task": (
        "tasks/rotation.py",
        'colour: ClassVar[str] = "#',
        'colour: ClassVar[str] = "#0',
    ),
    "a comment": ("losses.py", "import optax\n", "import optax  # losses\n"),
    "a report": ("report/forms.py", '+.{digits}f"', '+.{digits}g"'),
    "the cache itself": ("strategies/stages.py", "LOCK_SECONDS = 0.5", "LOCK_SECONDS = 0.7"),
    "another strategy": ("strategies/pairs.py", "DRAWN = 5000", "DRAWN = 500"),
}


def digests_after(root, edits):
    """The digests of the package with some texts replaced, which is then as before."""
    texts = {root / file: (root / file).read_text() for file, *_ in edits}
    for file, old, new in edits:
        text = (root / file).read_text()
        assert text.count(old) == 1, f"{old!r} is not in {file}"
        (root / file).write_text(text.replace(old, new))
    found = digests()
    for path, text in texts.items():
        path.write_text(text)
    return found


@pytest.mark.parametrize("file, old, new, changed", EDITS.values(), ids=EDITS.keys())
def test_an_edit(package, file, old, new, changed):
    root, before = package
    after = digests_after(root, [(file, old, new)])
    assert {name for name in before if before[name] != after[name]} == changed


def test_edits_that_change_nothing(package):
    root, before = package
    assert digests_after(root, IRRELEVANT.values()) == before


def test_a_task_reaches_its_loss_and_no_other():
    simclr, rotation = (reach([TASKS[name]]) for name in ("simclr", "rotation"))
    contrastive = Definition("assl_jax.losses", "nt_xent")
    assert contrastive in simclr and contrastive not in rotation
    # By way of a base class, a head and an annotation.
    assert Definition("assl_jax.tasks.route_tiles", "RouteTiles") in reach([TASKS["src"]])
    assert Definition("assl_jax.models.heads", "NextFeature") in reach([TASKS["mcpc"]])
    assert Definition("assl_jax.objectives.penalty", "Penalty") in reach([Pretraining])


def test_a_stage_reaches_the_compiled_step_but_no_task_that_it_does_not_train():
    for root in (Pretraining, Evaluating):
        found = reach([root])
        assert Definition("assl_jax.training.step", "make_step") in found
        modules = {definition.module for definition in found}
        assert "assl_jax.tasks.simclr" not in modules
        assert not {m for m in modules if m.split(".")[1] in ("report", "console", "records")}
    assert Definition("assl_jax.evaluation.classification", "Classification") in reach([Target])
    assert Definition("assl_jax.models.conv", "Conv") in reach([ResNet])


def test_the_digest_depends_on_the_packages_that_compute(monkeypatch):
    before = code_digest(TASKS["src"])
    code_digest.cache_clear()
    monkeypatch.setattr(identity, "versions", lambda: {"jax": "99.9"})
    assert code_digest(TASKS["src"]) != before
    code_digest.cache_clear()


def test_versions_to_the_minor_number(monkeypatch):
    monkeypatch.setattr(identity.metadata, "version", lambda name: "1.22.333rc1")
    assert identity.versions() == {"jax": "1.22", "flax": "1.22", "optax": "1.22"}


def test_a_users_own_task_counts(tmp_path, monkeypatch):
    """A class outside the package: its module is read, and what it imports from the package."""
    (tmp_path / "users_task.py").write_text(
        "from assl_jax import losses\n\nSCALE = 2\n\n\nclass Mine:\n"
        "    def loss(self, a, b):\n        return SCALE * losses.nt_xent(a, b)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import users_task

    assert reach([users_task.Mine]) >= {
        Definition("users_task", "SCALE"),
        Definition("assl_jax.losses", "nt_xent"),
    }


def test_a_users_package_and_what_lies_beside_it_count(tmp_path, monkeypatch):
    """Also by relative imports; installed packages do not count."""
    files = {
        "users_package/__init__.py": "",
        "users_package/parts/__init__.py": "from .deep import factor\n",
        "users_package/parts/deep.py": "def factor():\n    return 2\n",
        "users_package/task.py": "import numpy as np\nfrom . import parts\n"
        "from .parts import deep\n"
        "import users_helper\n\n\nclass Mine:\n    def loss(self):\n"
        "        return np.abs(parts.factor()) * users_helper.more()\n",
        "users_helper.py": "def more():\n    return 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    import users_package.task

    found = reach([users_package.task.Mine])
    assert found == {
        Definition("users_package.task", "Mine"),
        Definition("users_package.parts.deep", "factor"),
        Definition("users_helper", "more"),
    }
    code_digest.cache_clear()
    before = code_digest(users_package.task.Mine)
    (tmp_path / "users_helper.py").write_text("def more():\n    return 3\n")
    code_digest.cache_clear()
    identity._module.cache_clear()
    assert code_digest(users_package.task.Mine) != before


def test_a_module_beside_an_installed_one_does_not_count(tmp_path):
    site = tmp_path / "site-packages"
    site.mkdir()
    for folder in (tmp_path, site):
        (folder / "other.py").write_text("")
    assert identity._beside("other", tmp_path) and not identity._beside("other", site)
    assert not identity._beside("absent", tmp_path)
