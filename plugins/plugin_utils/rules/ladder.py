"""Rules for the numbers, and for the timeouts that have to be longer than others."""

from collections.abc import Iterator

from ..settings import Settings

LEAST = {
    "tornado_app_max_wait": (1, "seconds"),
    "tornado_app_processes": (2, "one serves while another restarts"),
    "tornado_app_ready_timeout": (1, "seconds"),
    "tornado_app_keep_releases": (2, "the current release and the one to go back to"),
    "tornado_app_trial": (0, "seconds"),
    "tornado_app_nginx_upstream_keepalive": (0, "connections"),
    "tornado_app_nginx_connect_timeout_ms": (1, "milliseconds"),
    "tornado_app_nginx_backlog": (1, "connections"),
    "tornado_app_nginx_workers": (1, "processes of nginx"),
}


def at_least(settings: Settings, variable: str, least: int, unit: str) -> Iterator[str]:
    """A whole number is not below the least."""
    if settings.integer(variable) < least:
        yield settings.error(variable, f"a whole number, at least {least} ({unit})")


def numbers(settings: Settings) -> Iterator[str]:
    """Whole numbers are not below their least."""
    for variable, (least, unit) in LEAST.items():
        yield from at_least(settings, variable, least, unit)


def nginx_timeouts(settings: Settings) -> Iterator[str]:
    """Nobody gives up on an answer before the app does, or waits that long to connect."""
    max_wait = settings.max_wait
    for variable in ("tornado_app_nginx_read_timeout", "tornado_app_nginx_send_timeout"):
        if settings.integer(variable) < max_wait:
            yield settings.error(
                variable,
                f"seconds, at least tornado_app_max_wait ({max_wait}):"
                " nginx must not give up before the app does",
            )
    connect = settings.integer("tornado_app_nginx_connect_timeout_ms")
    if max_wait >= 1 and connect >= max_wait * 1000:
        yield settings.error(
            "tornado_app_nginx_connect_timeout_ms",
            f"milliseconds, less than tornado_app_max_wait ({max_wait} s)",
        )
