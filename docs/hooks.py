"""Shows the notebooks in the site: each becomes a page with its code and its saved outputs."""

import json
from typing import Any


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each notebook; mkdocs calls this."""
    from mkdocs.structure.files import File

    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        content = to_markdown(json.loads(file.content_string), file.name)
        page = File.generated(config, file.src_uri.replace(".ipynb", ".md"), content=content)
        files.append(page)
    return files


def to_markdown(notebook: dict[str, Any], name: str) -> str:
    """A notebook as Markdown.

    Args:
      notebook: the parsed file, of nbformat 4.
      name: of the file, without its suffix.
    """
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source.replace(".ipynb)", ".md)"))  # links to other notebooks
        else:
            parts += [_block("python", source), *map(_output, cell["outputs"])]
    title, *rest = parts
    return "\n\n".join([title, f"[Download this notebook]({name}.ipynb)", *rest]) + "\n"


def _output(output: dict[str, Any]) -> str:
    """A picture, or else the text."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        return f"![Output](data:image/png;base64,{''.join(data['image/png']).strip()})"
    return _block("text", "".join(data["text/plain"]).rstrip())


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
