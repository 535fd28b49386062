"""The notebooks in `docs/notebooks`: their code runs, and the site shows them."""

import importlib.util
import json
import re
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
everyone = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def cells(file, kind):
    found = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def test_there_is_one_for_images_and_one_for_volumes():
    assert [file.stem for file in NOTEBOOKS] == ["digits", "phantom3d"]


@pytest.mark.long
@everyone
def test_the_code_runs(file, tmp_path, monkeypatch, capsys):
    """The cells in order, as Jupyter runs them; each prints or draws where it is saved to do so."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("assl_jax.console._quiet", False)
    matplotlib.use("agg")
    from matplotlib import pyplot

    scope = {"__name__": "__main__"}
    for cell in cells(file, "code"):
        exec(compile("".join(cell["source"]), file.name, "exec"), scope)
        saved = [output["output_type"] for output in cell["outputs"]]
        assert bool(capsys.readouterr().out) == ("stream" in saved)
        assert len(pyplot.get_fignums()) == saved.count("display_data")
        pyplot.close("all")
    assert list(tmp_path.glob("runs/*/report/index.html"))


@everyone
def test_the_outputs_are_saved_and_name_no_folder_of_a_machine(file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"/home/|/tmp/|/Users/|Traceback", text)
    counts = [cell["execution_count"] for cell in cells(file, "code")]
    assert counts == list(range(1, len(counts) + 1))
    assert text.count('"image/png"') >= 2 and len(text) < 400_000


@everyone
def test_the_site_shows_all_of_it(file):
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    page = hooks.to_markdown(json.loads(file.read_text(encoding="utf-8")), file.stem)
    for cell in cells(file, "code"):
        assert "```python\n" + "".join(cell["source"]) + "\n```" in page
    assert page.count("(data:image/png;base64,") == file.read_text().count('"image/png"')
    assert f"[Download this notebook]({file.name})" in page
    assert f"notebooks/{file.stem}.md" in (ROOT / "mkdocs.yml").read_text()
