"""Rules for the certificate and its key."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..facts import HostFacts
from ..settings import TLS_FILES, Settings
from .ladder import at_least

CERTIFICATE, KEY = TLS_FILES
WHAT = ("a certificate (PEM)", "a private key (PEM) without a passphrase")

# openssl's exit code, and that of a host that has none yet: there nginx says it of the candidate.
ACCEPTED = (0, 2)


def hsts(settings: Settings) -> Iterator[str]:
    """Browsers are told to insist on TLS only where there is TLS."""
    yield from at_least(settings, "tornado_app_nginx_tls_hsts", 0, "seconds")
    if settings.integer("tornado_app_nginx_tls_hsts") != 0 and not settings.tls:
        yield settings.error(
            "tornado_app_nginx_tls_hsts",
            f"0, or a {CERTIFICATE}: browsers would be kept from a site that has no TLS",
        )


def pair(settings: Settings) -> Iterator[str]:
    """A certificate has a key and a key has a certificate, but for a self-signed one."""
    has_key = settings.text(KEY) != ""
    needs_key = settings.certificate_kind in ("host", "controller")
    if needs_key and not has_key:
        yield settings.error(KEY, f"the key of {CERTIFICATE}")
    if has_key and not needs_key:
        yield settings.error(CERTIFICATE, f"the certificate of {KEY}")


def files(settings: Settings, facts: HostFacts, playbook_dir: str) -> Iterator[str]:
    """Both files are where they are said to be, and belong together."""
    kind = settings.certificate_kind
    if not settings.text(KEY) or kind not in ("host", "controller"):
        return
    on_host = kind == "host"
    if Path(settings.text(KEY)).is_absolute() != on_host:
        yield settings.error(
            KEY,
            f"a path on the same machine as {CERTIFICATE}:"
            " both absolute, on the host, or neither, on the controller",
        )
    where = "the host" if on_host else f"the controller, from {playbook_dir}"
    for variable, what, file in zip(TLS_FILES, WHAT, facts["certificates"], strict=True):
        path = settings.text(variable)
        there = file["exists"] if on_host else os.access(Path(playbook_dir, path), os.F_OK)
        if re.search(r"""[\s"';#%{}$]""", path):
            yield settings.error(variable, "a path without spaces, quotes or any of ; # % { } $")
        if not there:
            yield settings.error(variable, f"a file on {where}")
        elif file["status"] not in ACCEPTED:
            yield settings.error(variable, what)
    if len({file["public_key"] for file in facts["certificates"] if file["status"] == 0}) > 1:
        yield settings.error(
            KEY, f"the key of {settings.certificate}, which has another public key"
        )
