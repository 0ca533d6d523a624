"""``python -m tornado_drain MODULE:ATTRIBUTE``: serve an application, its code unchanged."""

import argparse
import asyncio
import importlib
import inspect
import logging
import operator
from typing import Any

from tornado.httputil import HTTPServerConnectionDelegate

from tornado_drain.server import Settings, serve


def main() -> None:
    """Serve what the command line names until told to leave."""
    parser = argparse.ArgumentParser(
        prog="python -m tornado_drain",
        description="Serve a Tornado application; on SIGTERM, answer what has begun, then leave.",
    )
    parser.add_argument(
        "app", metavar="MODULE:ATTRIBUTE", help="an Application, or a callable that returns one"
    )
    parser.add_argument("--listen", help="host:port or unix:/path (TORNADO_DRAIN_LISTEN)")
    parser.add_argument("--max-wait", type=float, help="seconds (TORNADO_DRAIN_MAX_WAIT)")
    arguments = parser.parse_args()
    try:
        Settings.from_environment(arguments.listen, arguments.max_wait)
        asyncio.run(_serve(arguments.app, arguments.listen, arguments.max_wait))
    except ValueError as error:
        parser.error(str(error))


async def _serve(name: str, listen: str | None, max_wait: float | None) -> None:
    app = await _find(name)
    # After the import: where the application set up logging itself, this does nothing.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
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
