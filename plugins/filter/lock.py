"""The filter `lock`: what pip resolved, as a requirements file with every version and hash."""

from collections.abc import Callable, Mapping
from typing import Any


def lock(report: Mapping[str, Any]) -> str:
    """Return the lock of a release.

    Args:
        report: what ``pip install --report`` writes
            (https://pip.pypa.io/en/stable/reference/installation-report/).

    Returns:
        A comment with the version of Python, then a line per package, by name. With a package from
        a version control system there are no hashes, since pip wants them of all or of none.
    """
    items = sorted(report["install"], key=lambda item: str(item["metadata"]["name"]).lower())
    hashed = not any("vcs_info" in item["download_info"] for item in items)
    lines = [f"# Python {report['environment']['python_full_version']}"]
    for item in items:
        name, source = item["metadata"]["name"], item["download_info"]
        if "vcs_info" in source:
            vcs = source["vcs_info"]
            line = f"{name} @ {vcs['vcs']}+{source['url']}@{vcs['commit_id']}"
            if "subdirectory" in source:
                line += f"#subdirectory={source['subdirectory']}"
        elif item.get("is_direct"):
            line = f"{name} @ {source['url']}"
        else:
            line = f"{name}=={item['metadata']['version']}"
        if hashed:
            line += f" --hash={_digest(source['archive_info'])}"
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def _digest(archive: Mapping[str, Any]) -> str:
    """Return ``sha256:<hex>``; pip before 23.1, that of Debian 12, writes no ``hashes``."""
    if "hash" in archive:
        return str(archive["hash"]).replace("=", ":")
    return f"sha256:{archive['hashes']['sha256']}"


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"lock": lock}
