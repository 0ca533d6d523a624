"""Serve an application, or run a program that serves one, its code unchanged.

``python -m tornado_drain MODULE:ATTRIBUTE``, or ``python -m tornado_drain -- COMMAND...``.
"""

import argparse
import asyncio
import importlib
import inspect
import operator
import sys
from typing import Any

from tornado.httputil import HTTPServerConnectionDelegate

from tornado_drain.logs import basic_config
from tornado_drain.program import find, run
from tornado_drain.server import serve
from tornado_drain.settings import Settings


def main() -> None:
    """Serve what the command line names until told to leave."""
    parser = argparse.ArgumentParser(
        prog="python -m tornado_drain",
        usage="%(prog)s [--listen LISTEN] [--max-wait SECONDS] (MODULE:ATTRIBUTE | -- COMMAND...)",
        description="Serve a Tornado application; on SIGTERM, answer what has begun, then leave.",
    )
    parser.add_argument("--listen", help="host:port or unix:/path (TORNADO_DRAIN_LISTEN)")
    parser.add_argument("--max-wait", type=float, help="seconds (TORNADO_DRAIN_MAX_WAIT)")
    own, is_program, command = _split(sys.argv[1:])
    if not is_program:
        parser.add_argument(
            "app", metavar="MODULE:ATTRIBUTE", help="an Application, or a callable that returns one"
        )
    arguments = parser.parse_args(own)
    try:
        settings = Settings.from_environment(arguments.listen, arguments.max_wait)
        start = find(command) if is_program else None
        if start is None:
            asyncio.run(_serve(arguments.app, arguments.listen, arguments.max_wait))
    except ValueError as error:
        parser.error(str(error))
    if start is not None:
        run(start, settings)


def _split(arguments: list[str]) -> tuple[list[str], bool, list[str]]:
    """Return what is before the first ``--``, whether there is one, and what is after it."""
    if "--" not in arguments:
        return arguments, False, []
    at = arguments.index("--")
    return arguments[:at], True, arguments[at + 1 :]


async def _serve(name: str, listen: str | None, max_wait: float | None) -> None:
    app = await _find(name)
    # After the import: where the application set up logging itself, this does nothing.
    basic_config()
    await serve(app, listen, max_wait=max_wait)


async def _find(name: str) -> HTTPServerConnectionDelegate:
    """Import within the running loop, since some applications ask for it when imported."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ValueError(f"got {name!r}; expected MODULE:ATTRIBUTE")
    found: Any = operator.attrgetter(attribute)(importlib.import_module(module))
    if not isinstance(found, HTTPServerConnectionDelegate):
        found = found() if callable(found) else found
        found = await found if inspect.isawaitable(found) else found
    if not isinstance(found, HTTPServerConnectionDelegate):
        raise ValueError(f"{name}: got {found!r}; expected an Application or a callable giving one")
    return found


if __name__ == "__main__":
    main()
