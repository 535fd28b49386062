"""A comparison of backbones that are named `module:Class`, from start to end."""

import re

import pytest
from whole_runs import SMALL, read

from assl_jax.__main__ import main

LABEL = "tinynet:TinyNet/src.self_assl"


@pytest.mark.slow
def test_table_4_of_own_backbones(tmp_path, capsys):
    names = ("tinynet:TinyNet", "tinynet:OtherNet")
    settings = {**SMALL, "self_assl.backbones": str(names).replace(" ", ""), "log_every": 2}
    workdir = tmp_path / "run"
    options = [f"--config.{key}={value}" for key, value in settings.items()]
    main(["run", "table4:digits", f"--workdir={workdir}", *options])
    results = read(workdir)
    assert [group.backbone for group in results.self_assl.backbones] == list(names)
    assert LABEL in {network.label for network in results.networks}
    tables = (workdir / "report" / "tables.md").read_text()
    page = (workdir / "report" / "index.html").read_text()
    for title in ("TinyNet", "OtherNet"):
        assert f"| {title}: SRC, Self-ASSL |" in tables
        assert f"Line charts over steps of Self-ASSL {title}: penalty" in page
    capsys.readouterr()
    main(["export", str(workdir), "--format=safetensors", f"--network={LABEL}"])
    files = [path.rpartition("/")[2] for path in capsys.readouterr().out.split()]
    assert files[0] == "tinynet_TinyNet_src.self_assl.finetuned.safetensors"
    main(["gradcam", f"--workdir={workdir}", "--n=1", f"--networks={LABEL}"])
    main(["report", str(workdir), f"--out={tmp_path / 'compared'}"])
    compared = (tmp_path / "compared" / "index.html").read_text()
    assert not re.search(r"\btinynet:", re.sub(r"<pre.*?</pre>", "", compared, flags=re.DOTALL))
