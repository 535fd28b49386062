"""Tables as spreadsheets and programs write them."""

import codecs

import pytest

from assl_jax.data.table import read_table

PLAIN = "path,label\na.png,x\nb.png,y\n"
EXPECTED = ((2, {"path": "a.png", "label": "x"}), (3, {"path": "b.png", "label": "y"}))


def read(tmp_path, content):
    file = tmp_path / "t.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(file, needed=("path", "label"), optional=("split",), columns={})


FORMS = {
    "plain": PLAIN,
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "bars and spaces": PLAIN.replace(",", " | "),
    "a delimiter at the end": PLAIN.replace("\n", ",\n"),
    "Windows": codecs.BOM_UTF8 + PLAIN.replace("\n", "\r\n").encode(),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16, the other order": codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
    "upper case": PLAIN.replace("path,label", " Path ,LABEL"),
    "quotes": PLAIN.replace("a.png", '"a.png"'),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(tmp_path, form):
    table = read(tmp_path, FORMS[form])
    assert table.columns == ("path", "label")
    assert table.rows == EXPECTED and table.notes == ()


def test_other_columns_short_rows_and_empty_lines(tmp_path):
    text = ',path,label,note\n\n0,"a,b.png",x\n,,,\n1,b.png,y,seen\n'
    table = read(tmp_path, text)
    assert [number for number, _ in table.rows] == [3, 5]
    assert table.rows[0][1] == {"": "0", "path": "a,b.png", "label": "x", "note": ""}
    table = read(tmp_path, "sep=;\n" + PLAIN.replace(",", ";"))
    assert table.rows == tuple((n + 1, cells) for n, cells in EXPECTED)


def test_windows_1252_is_read_and_said(tmp_path):
    table = read(tmp_path, PLAIN.replace("x", "stra\u00dfe").encode("cp1252"))
    assert table.rows[0][1]["label"] == "stra\u00dfe"
    assert table.notes == ("t.csv is not UTF-8; it was read as Windows-1252",)
