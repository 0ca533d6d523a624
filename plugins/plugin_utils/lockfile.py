"""The lock that is kept in the user's repository: a section for each platform."""

import re
from pathlib import Path

from ..module_utils.artifact import ArtifactError

HEADER = """\
# What tornado_app deploys, for each platform. -e tornado_app_refresh=true writes it anew.
"""


def read(path: Path) -> dict[str, list[str]]:
    """Read a lock.

    Args:
        path: of the file, which may be missing.

    Returns:
        The lines of each section by the title of its platform.

    Raises:
        ArtifactError: it is something else.
        OSError: it cannot be read.
    """
    if not path.exists():
        return {}
    sections: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if title := re.fullmatch(r"# platform: (.*)", line):
            lines = sections.setdefault(title[1], [])
        elif line.strip() and not line.startswith("#"):
            if not sections:
                raise ArtifactError(
                    f"tornado_app_lock: got {path.name}, which the role has not written"
                )
            lines.append(line)
    return sections


def write(path: Path, sections: dict[str, list[str]]) -> None:
    """Write a lock, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    parts = [
        "\n".join([f"# platform: {title}", *sections[title], ""]) for title in sorted(sections)
    ]
    new = path.with_name(f".{path.name}.new")
    new.write_text("\n".join([HEADER, *parts]))
    new.replace(path)
