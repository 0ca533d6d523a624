"""What the environment says of a process."""

import os
from dataclasses import dataclass

# Seconds from MAX_WAIT to the exit limit, by default; the ladder's next rung is MAX_WAIT + 5.
_AFTER_DRAIN = 3.0


@dataclass(frozen=True)
class Settings:
    """Where to listen and how long to drain; what is not given is read from the environment.

    Attributes:
        listen: ``host:port`` or ``unix:/path`` (``TORNADO_DRAIN_LISTEN``).
        max_wait: MAX_WAIT, the longest a drain may take, seconds (``TORNADO_DRAIN_MAX_WAIT``).
        port: the process's identity, also on a unix socket (``TORNADO_DRAIN_PORT``).
        release: the release it runs (``TORNADO_DRAIN_RELEASE``).
        exit_limit: how long after the signal a process that has drained is ended, whatever the app
            still does, seconds (``TORNADO_DRAIN_EXIT_LIMIT``; MAX_WAIT and 3 by default).
    """

    listen: str
    max_wait: float
    port: int
    release: str
    exit_limit: float

    @classmethod
    def from_environment(
        cls, listen: str | None = None, max_wait: float | None = None
    ) -> "Settings":
        """Read the settings that the role writes.

        Raises:
            ValueError: a setting is not of its form; the text names it.
        """
        listen = listen or os.environ.get("TORNADO_DRAIN_LISTEN", "127.0.0.1:9001")
        given: object = max_wait
        if given is None:
            given = os.environ.get("TORNADO_DRAIN_MAX_WAIT", "30")
        wait = _seconds("TORNADO_DRAIN_MAX_WAIT", given, 0)
        limit = os.environ.get("TORNADO_DRAIN_EXIT_LIMIT", wait + _AFTER_DRAIN)
        named = os.environ.get("TORNADO_DRAIN_PORT")
        if named and not named.isdecimal():
            raise ValueError(f"TORNADO_DRAIN_PORT={named!r}: expected a whole number")
        port = named or listen.rpartition(":")[2]
        return cls(
            listen=listen,
            max_wait=wait,
            port=int(port) if port.isdecimal() else 0,
            release=os.environ.get("TORNADO_DRAIN_RELEASE", ""),
            exit_limit=_seconds("TORNADO_DRAIN_EXIT_LIMIT", limit, wait, " (MAX_WAIT)"),
        )


def _seconds(name: str, given: object, above: float, what: str = "") -> float:
    try:
        seconds = float(str(given))
    except ValueError:
        seconds = above
    if not above < seconds < float("inf"):
        raise ValueError(f"{name}={given!r}: expected seconds above {above:g}{what}")
    return seconds
