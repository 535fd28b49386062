"""What README and the pages of docs print: code, command lines, and words in code."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAM = re.compile(r"main\.py|-m assl_jax|assl-jax|^--config")


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks in a language."""
    return [code for name, code in FENCED.findall(_text(page)) if name == language]


def command_lines(page: str) -> list[str]:
    """The command lines in a page's blocks, each on one line."""
    lines = [line for code in blocks(page, "bash") for line in _joined(code)]
    lines += [
        line.removeprefix("$ ")
        for code in blocks(page, "text")
        for line in _joined(code)
        if line.startswith("$ ")
    ]
    indented = re.findall(r"(?:^    .*\n)+", FENCED.sub("", _text(page)), re.MULTILINE)
    return lines + [line.strip() for code in indented for line in _joined(code)]


def commands(page: str) -> list[list[str]]:
    """The words of each command line of this program in a page, from the command on."""
    found = (commands_in(line) for line in command_lines(page) if PROGRAM.search(line))
    return [command for line in found for command in line]


def words_in_code(page: str) -> list[str]:
    """Every `word in code`, on one line."""
    plain = FENCED.sub("", _text(page))
    return [" ".join(each.split()) for each in re.findall(r"(?<!`)`([^`]+)`(?!`)", plain)]


def commands_in(line: str) -> list[list[str]]:
    """The commands of a shell line; one for another machine is a word of its own."""
    found: list[list[str]] = []
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), "&&"]:
        if word == "&&":
            found += filter(None, [_command(words)])
            words = []
        elif "main.py " in word:
            found += commands_in(word.partition("=")[2] or word)
        else:
            words.append(word)
    return found


def _command(words: list[str]) -> list[str]:
    for i, word in enumerate(words):
        if word == "main.py":
            return ["run", *words[i + 1 :]]
        if word == "assl-jax" or (word == "assl_jax" and words[i - 1] == "-m"):
            return words[i + 1 :]
    return words if words and words[0].startswith("--config") else []


def _joined(code: str) -> list[str]:
    return code.replace("\\\n", " ").splitlines()
