"""Filters for what nginx is told."""

from collections.abc import Callable
from typing import Any

from ..plugin_utils.nginx import are_mixed, certificate_kind, nginx_files, port


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "are_mixed": are_mixed,
            "certificate_kind": certificate_kind,
            "nginx_files": nginx_files,
            "port": port,
        }
