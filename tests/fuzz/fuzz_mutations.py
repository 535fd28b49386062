"""Changes of a file's content: `mutate(rng, content)` gives the changed content."""

import gzip
import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from assl_jax.records.base import DIGEST, encode

Rng = np.random.Generator
Mutation = Callable[[Rng, bytes], bytes]
EXTREMES = (0, 1, 2, -1, 127, 255, 2**15 - 1, 2**16 - 1, 2**31 - 1, -(2**31), 2**40, 2**63 - 1)
REALS = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-30, 1e30, 1e300)
SIZES = (b"0", b"-1", b"9", b"99999999999", b"x", b"(", b"4294967296")
WORDS = (
    *(b"", b'"', b"'", b",", b";", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"\\", b"/.."),
    *(b"\x1b[31m", b"nan", b"-1", b"1e999", b"9" * 30, b"[" * 3000, b"{", b"a" * 70000),
)


def place(rng: Rng, content: bytes) -> int:
    """A position, most often near the beginning, where headers are."""
    return int(len(content) * rng.random() ** rng.choice((1, 2, 3)))


def block(rng: Rng, content: bytes) -> slice:
    start = place(rng, content)
    return slice(start, start + int(rng.integers(1, 2 + min(64, len(content)))))


def flip_bits(rng: Rng, content: bytes) -> bytes:
    out = bytearray(content)
    for _ in range(int(rng.integers(1, 5)) if out else 0):
        out[place(rng, content)] ^= 1 << int(rng.integers(8))
    return bytes(out)


def set_bytes(rng: Rng, content: bytes) -> bytes:
    out, where = bytearray(content), block(rng, content)
    out[where] = bytes([int(rng.choice((0, 1, 127, 128, 255)))]) * len(out[where])
    return bytes(out)


def truncate(rng: Rng, content: bytes) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def repeat(rng: Rng, content: bytes) -> bytes:
    where = block(rng, content)
    times = int(rng.choice((2, 3, 50)))
    return content[: where.start] + content[where] * times + content[where.stop :]


def double(rng: Rng, content: bytes) -> bytes:
    return content * 2


def insert(rng: Rng, content: bytes) -> bytes:
    at = place(rng, content)
    return content[:at] + rng.bytes(int(rng.integers(1, 20))) + content[at:]


def remove(rng: Rng, content: bytes) -> bytes:
    where = block(rng, content)
    return content[: where.start] + content[where.stop :]


def swap(rng: Rng, content: bytes) -> bytes:
    out, size = bytearray(content), int(rng.integers(1, 65))
    a, b = place(rng, content), place(rng, content)
    out[a : a + size], out[b : b + size] = content[b : b + size], content[a : a + size]
    return bytes(out)


def number(rng: Rng, content: bytes) -> bytes:
    """An aligned number of 1 to 8 bytes becomes an extreme one."""
    size, order = int(rng.choice((1, 2, 4, 8))), rng.choice(("<", ">"))
    if size > 2 and rng.random() < 0.3:
        real = float(rng.choice(REALS))
        code = "d" if size == 8 else "f"
        real = real if size == 8 or abs(real) < 1e38 or not math.isfinite(real) else 1e38
        new = struct.pack(f"{order}{code}", real)
    else:
        value = int(rng.choice(EXTREMES)) % 256**size
        new = value.to_bytes(size, "little" if order == "<" else "big")
    at = place(rng, content) // size * size
    return content[:at] + new + content[at + size :]


BYTES = (flip_bits, set_bytes, truncate, repeat, double, insert, remove, swap, number, number)


def some_bytes(rng: Rng, content: bytes) -> bytes:
    """One to four of `BYTES`, one after the other."""
    for _ in range(int(rng.choice((1, 1, 2, 4)))):
        content = BYTES[int(rng.integers(len(BYTES)))](rng, content)
    return content


def words(rng: Rng, content: bytes) -> bytes:
    """A piece of text is put in, or replaces one between two signs."""
    new = WORDS[int(rng.integers(len(WORDS)))]
    where = block(rng, content)
    rest = content[where.start if rng.random() < 0.5 else where.stop :]
    return content[: where.start] + new + rest


def cells(rng: Rng, content: bytes) -> bytes:
    """Lines and cells of a table are exchanged, repeated, removed or replaced."""
    lines = content.split(b"\n")
    at = int(rng.integers(len(lines)))
    sign = (b",", b";", b"\t", b"|")[int(rng.integers(4))]
    row = lines[at].split(sign if sign in lines[at] else b",")
    cell = int(rng.integers(len(row)))
    match int(rng.integers(6)):
        case 0:
            lines.insert(at, lines[at])
        case 1:
            del lines[at]
        case 2:
            row.insert(cell, row[cell])
        case 3:
            del row[cell]
        case 4:
            row[cell] = WORDS[int(rng.integers(len(WORDS)))]
        case _:
            row[cell] = b'"' + row[cell] + b'""'[: int(rng.integers(3))]
    if len(lines) > at:
        lines[at] = sign.join(row) if rng.random() < 0.8 else lines[at]
    return (b"\n", b"\r\n", b"\r")[int(rng.choice(3, p=(0.8, 0.1, 0.1)))].join(lines)


def deep(rng: Rng) -> Any:
    value: Any = 0
    for _ in range(int(rng.choice((5, 300, 900)))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def other_value(rng: Rng, tree: Any) -> Any:
    """One value of a JSON tree is replaced by another type, removed, repeated or renamed."""
    if isinstance(tree, dict | list) and tree and rng.random() < 0.85:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        key = keys[int(rng.integers(len(keys)))]
        copy = dict(tree) if isinstance(tree, dict) else list(tree)
        chance = rng.random()
        if chance < 0.1:
            del copy[key]
        elif chance < 0.15 and isinstance(copy, dict):
            copy[f"{key} "] = copy.pop(key)
        elif chance < 0.2 and isinstance(copy, list):
            copy = copy * int(rng.choice((2, 40)))
        else:
            copy[key] = other_value(rng, tree[key])
        return copy
    choices = (
        *(None, True, "", "src", "\0", "\x1b[31m", "x" * 5000, [], {}, [[]], {"": 0}, 0.5, -0.0),
        *(10**30, 1e300, -1, 0, 2**63, math.nan, math.inf, tree, [tree], {"a": tree}),
    )
    picked = int(rng.integers(len(choices) + 1))
    return deep(rng) if picked == len(choices) else choices[picked]


def json_values(rng: Rng, content: bytes) -> bytes:
    """Values of a JSON text, or of one of its lines; a digest in it is sometimes made right."""
    lines = content.splitlines() if b"\n{" in content else [content]
    at = int(rng.integers(len(lines)))
    tree = json.loads(lines[at])
    for _ in range(int(rng.choice((1, 1, 3)))):
        tree = other_value(rng, tree)
    lines[at] = json.dumps(tree).encode()
    if isinstance(tree, dict) and len(lines) == 1 and rng.random() < 0.3:
        try:
            tree.pop(DIGEST, None)
            lines[at] = encode(tree)
        except (ValueError, RecursionError):  # no JSON, such as NaN
            pass
    return b"\n".join(lines)


def safetensors_header(rng: Rng, content: bytes) -> bytes:
    """Values of the header, whose length is made right."""
    size = int.from_bytes(content[:8], "little")
    header = json_values(rng, content[8 : 8 + size])
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def png_chunks(rng: Rng, content: bytes) -> bytes:
    """Any bytes, with right checksums of the chunks."""
    if not content.startswith(b"\x89PNG"):
        return some_bytes(rng, content)
    out, at = bytearray(some_bytes(rng, content)), 8
    while at + 12 <= len(out):
        size = int.from_bytes(out[at : at + 4], "big")
        if at + 12 + size > len(out):
            break
        end = at + 8 + size
        out[end : end + 4] = zlib.crc32(out[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(out)


def unpacked(rng: Rng, content: bytes) -> bytes:
    """Any bytes of what gzip has packed, with a right checksum."""
    if not content.startswith(b"\x1f\x8b"):
        return some_bytes(rng, content)
    return gzip.compress(some_bytes(rng, gzip.decompress(content)), 1, mtime=0)


def members(rng: Rng, content: bytes) -> bytes:
    """Any bytes of one array of a NumPy archive, with a right checksum."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        files = {entry.filename: old.read(entry) for entry in old.infolist()}
    name = list(files)[int(rng.integers(len(files)))]
    if rng.random() < 0.5:
        files[name] = some_bytes(rng, files[name])
    else:  # the text that names type and shape
        head = files[name][:128]
        for _ in range(int(rng.integers(1, 3))):
            digits = [i for i, c in enumerate(head) if 48 <= c < 58 and i > 9]
            at = digits[int(rng.integers(len(digits)))] if digits else 20
            new = SIZES[int(rng.integers(len(SIZES)))]
            head = head[:at] + new + head[at + len(new) :]
        files[name] = head + files[name][128:]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new_file:
        for each, data in files.items():
            new_file.writestr(zipfile.ZipInfo(each), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def tar_headers(rng: Rng, content: bytes) -> bytes:
    """Headers of an archive with right checksums; the archive may be packed."""
    packed = content.startswith(b"\x1f\x8b")
    out, at = bytearray(gzip.decompress(content) if packed else content), 0
    if out[257:262] != b"ustar":
        return some_bytes(rng, content)
    while out[at : at + 1] not in (b"\0", b""):
        size = int(out[at + 124 : at + 135], 8)
        if rng.random() < 0.3:
            field = slice(at + 124, at + 136) if rng.random() < 0.5 else slice(at, at + 500)
            new = some_bytes(rng, bytes(out[field]))
            room = field.stop - field.start
            out[field] = new[:room].ljust(room, b"\0")
            if rng.random() < 0.3:
                out[at + 124 : at + 136] = b"77777777777\0"
        head = bytes(out[at : at + 148]) + b" " * 8 + bytes(out[at + 156 : at + 512])
        out[at + 148 : at + 156] = b"%06o\0 " % sum(head)
        at += 512 + -(-size // 512) * 512
    return gzip.compress(bytes(out), 1, mtime=0) if packed else bytes(out)
