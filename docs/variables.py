"""Writes docs/variables.md from the argument specs and the defaults of the roles (`make docs`)."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/variables.md"
WIDTH = 100

HEAD = """\
# Variables

Written by `make docs` from the argument specs and the defaults of the roles; edit those. A wrong
value is refused, by name, before anything on the host is touched.
"""


def sections(defaults: str) -> list[tuple[str, list[str]]]:
    """Read which variables a defaults file groups under which comment.

    Args:
        defaults: the text of the file.

    Returns:
        Titles, empty for what comes before the first, each with its variables in order.
    """
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in defaults.splitlines():
        if title := re.fullmatch(r"# (.+)", line):
            found.append((title[1], []))
        elif name := re.match(r"(\w+):", line):
            found[-1][1].append(name[1])
    return [(title, names) for title, names in found if names]


def markdown(text: str) -> str:
    """Turn Ansible's C(...) into Markdown's code."""
    return re.sub(r"C\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", text)


def kind(option: dict[str, Any], default: object) -> str:
    """Say in one line what an option takes, and what it is where nobody sets it."""
    words = f"`{option['type']}`"
    if "elements" in option:
        words += f" of `{option['elements']}`"
    if "choices" in option:
        words += ": " + ", ".join(f"`{literal(choice)}`" for choice in option["choices"])
    if isinstance(default, str) and "{{" in default:
        return f"{words}; the default is computed"
    return f"{words}; default `{literal(default)}`"


def literal(value: object) -> str:
    """Write a value as one would in YAML."""
    return value if isinstance(value, str) and value else json.dumps(value)


def fill(text: str) -> str:
    """Break a paragraph into lines, but no code."""
    whole = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), markdown(text))
    lines = textwrap.fill(whole, WIDTH, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")


def describe(name: str, option: dict[str, Any], default: object) -> str:
    """Write the entry of one variable."""
    texts = option["description"]
    paragraphs = [kind(option, default), *([texts] if isinstance(texts, str) else texts)]
    return "\n\n".join([f"#### {name}", *map(fill, paragraphs)])


def page() -> str:
    """Return the whole page."""
    parts = [HEAD.rstrip()]
    for role in ("tornado_app", "load_balancer"):
        folder = ROOT / "roles" / role
        text = (folder / "defaults/main.yml").read_text(encoding="utf-8")
        defaults = yaml.safe_load(text)
        specs = yaml.safe_load((folder / "meta/argument_specs.yml").read_text(encoding="utf-8"))
        options = specs["argument_specs"]["main"]["options"]
        parts.append(f"## {role}")
        for title, names in sections(text):
            if title:
                parts.append(f"### {title}")
            parts += [describe(name, options[name], defaults[name]) for name in names]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
