"""Filters for what nginx is told."""

from collections.abc import Callable
from typing import Any

from ..plugin_utils.nginx import certificate_kind, nginx_files, port, unmixed


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "certificate_kind": certificate_kind,
            "nginx_files": nginx_files,
            "port": port,
            "unmixed": unmixed,
        }
