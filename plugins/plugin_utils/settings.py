"""The role's settings, whatever types they come in."""

import json
from collections.abc import Mapping
from typing import Any

from .nginx import certificate_kind, port

TLS_FILES = ("tornado_app_nginx_tls_certificate", "tornado_app_nginx_tls_key")


class Settings:
    """The variables of the role, read as its templates read them.

    Args:
        given: the public variables by name, and `__tornado_app_run`, the folder of the sockets;
            in plain types, where a number or a truth may also be text.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given

    def text(self, variable: str) -> str:
        """Read a variable as text."""
        return str(self.given[variable])

    def texts(self, variable: str) -> list[str]:
        """Read a list as a list of texts."""
        return [str(value) for value in self.given[variable]]

    def integer(self, variable: str) -> int:
        """Read a whole number, as Jinja's filter `int` does: 0 where there is none."""
        return integer(self.given[variable])

    def boolean(self, variable: str) -> bool:
        """Read a truth, as Ansible's filter `bool` does."""
        return str(self.given[variable]).lower() in ("true", "yes", "on", "1")

    def error(self, variable: str, expected: str, got: object = None) -> str:
        """Say what is wrong with a variable.

        Args:
            variable: its name.
            expected: what would be right.
            got: the part of its value that is wrong; by default the whole of it.
        """
        value = self.given[variable] if got is None else got
        return f"{variable}: got {json.dumps(value, default=str)}; expected {expected}"

    @property
    def name(self) -> str:
        """The app's."""
        return self.text("tornado_app_name")

    @property
    def home(self) -> str:
        """Where the app is kept."""
        return self.text("tornado_app_home")

    @property
    def rootless(self) -> bool:
        """Whether everything is under the home, without root and systemd."""
        return self.boolean("tornado_app_rootless")

    @property
    def max_wait(self) -> int:
        """MAX_WAIT, seconds."""
        return self.integer("tornado_app_max_wait")

    @property
    def ports(self) -> list[int]:
        """One for each process."""
        base = self.integer("tornado_app_base_port")
        return list(range(base, base + self.integer("tornado_app_processes")))

    @property
    def all_ports(self) -> list[int]:
        """Those of the processes, and that of the trial if there is one."""
        trial = self.integer("tornado_app_trial") > 0
        return self.ports + ([self.integer("tornado_app_trial_port")] if trial else [])

    def port_variable(self, port: int) -> str:
        """Name the variable that one of these ports comes from."""
        return "tornado_app_base_port" if port in self.ports else "tornado_app_trial_port"

    @property
    def on_ports(self) -> bool:
        """Whether processes listen on their ports; if not, on unix sockets."""
        return self.text("tornado_app_listener") == "port"

    @property
    def nginx_ports(self) -> dict[str, int]:
        """Where nginx listens, by variable; 0 where no port can be read from it."""
        variables = ["tornado_app_nginx_listen"]
        if self.tls:
            variables.append("tornado_app_nginx_tls_listen")
        if self.text("tornado_app_nginx_metrics_listen"):
            variables.append("tornado_app_nginx_metrics_listen")
        return {variable: port(self.text(variable)) for variable in variables}

    @property
    def certificate(self) -> str:
        """The path of the certificate, ``self-signed``, or nothing."""
        return self.text("tornado_app_nginx_tls_certificate")

    @property
    def certificate_kind(self) -> str:
        """Where it comes from: ``none``, ``self-signed``, ``host`` or ``controller``."""
        return certificate_kind(self.certificate)

    @property
    def tls(self) -> bool:
        """Whether nginx speaks TLS."""
        return self.certificate_kind != "none"


def integer(value: Any) -> int:
    """Convert to a whole number, as Jinja's filter `int` does: 0 where there is none."""
    for convert in (int, float):
        try:
            return int(convert(value))
        except (TypeError, ValueError, OverflowError):
            continue
    return 0
