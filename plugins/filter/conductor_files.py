"""The filter `conductor_files`: where the conductor's package goes on a host."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def conductor_files(source: str, home: str) -> list[dict[str, str]]:
    """Describe the conductor's files for the module `files`.

    The folder is named by its content and switched with one link, so that a roll that is running
    goes on with the modules that it began with.

    Args:
        source: the package's folder on the controller.
        home: the app's home on the host.

    Returns:
        The entries: folders, files, and last the link ``<home>/conductor``.
    """
    texts = {path.name: path.read_text(encoding="utf-8") for path in Path(source).glob("*.py")}
    content = "".join(f"{name}\0{texts[name]}\0" for name in sorted(texts))
    version = f"conductors/{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    package = f"{home}/{version}/conductor"
    folders = [f"{home}/conductors", f"{home}/{version}", package]
    return [
        *({"path": folder, "state": "directory", "mode": "0750"} for folder in folders),
        *({"path": f"{package}/{name}", "content": texts[name]} for name in sorted(texts)),
        {"path": f"{home}/conductor", "state": "link", "target": version},
    ]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"conductor_files": conductor_files}
