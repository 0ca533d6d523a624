"""The filter `command_line`."""

import pytest

from plugins.filter.command_line import command_line

WORDS = {"port": 9001, "name": "shop", "data": "/var/lib/shop", "venv": "/r/venv"}


@pytest.mark.parametrize(
    ("command", "wrap", "line"),
    [
        ("python -m shop {port}", False, "/r/venv/bin/python -m shop 9001"),
        ("/usr/bin/shop  {port}", False, "/usr/bin/shop  9001"),
        ("shop", True, "/r/venv/bin/python -m tornado_drain -- /r/venv/bin/shop"),
        ("/bin/x {venv}", True, "/r/venv/bin/python -m tornado_drain -- /bin/x /r/venv"),
        ("x {port}{port} {name}={data}", False, "/r/venv/bin/x 90019001 shop=/var/lib/shop"),
        ("x '{other} %d' \"$HOME\"", False, "/r/venv/bin/x '{other} %d' \"$HOME\""),
    ],
)
def test_a_command_line(command: str, wrap: bool, line: str) -> None:
    assert command_line(command, WORDS, wrap) == line
