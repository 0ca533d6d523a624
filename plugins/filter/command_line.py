"""The filter `command_line`: how one process of an app is started."""

from collections.abc import Callable, Mapping
from typing import Any


def command_line(command: str, words: Mapping[str, Any], wrap: bool = False) -> str:
    """Complete an app's command for one process.

    Args:
        command: the app's. Its program is one of the release's, unless it is an absolute path.
        words: what stands for ``{port}`` and so on, by name; ``venv`` is the release's.
        wrap: put the drain around it.

    Returns:
        The command line, quoted where the command was.
    """
    program = command.split()[0] if command.split() else ""
    line = command if program.startswith("/") else f"{words['venv']}/bin/{command.lstrip()}"
    if wrap:
        line = f"{words['venv']}/bin/python -m tornado_drain -- {line}"
    for word, value in words.items():
        line = line.replace(f"{{{word}}}", str(value))
    return line


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"command_line": command_line}
