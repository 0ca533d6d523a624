"""The id that nginx gives each request, for everything that is logged while handling it."""

import logging
from contextvars import ContextVar

from tornado.httputil import HTTPHeaders

# What nginx sets, whatever the client sent.
HEADER = "X-Request-ID"

_headers: ContextVar[HTTPHeaders] = ContextVar("headers")


def request_id() -> str:
    """Return the id of the request being handled, as in nginx's access log; "" outside of one."""
    headers = _headers.get(None)
    return headers.get(HEADER, "") if headers else ""


def set_headers(headers: HTTPHeaders) -> None:
    """Make these the headers of the request that the running task handles."""
    _headers.set(headers)


def add_request_id(record: logging.LogRecord) -> bool:
    """Give a log record the attribute ``request_id``, "-" outside of a request.

    A filter for a handler, whose format may then have ``%(request_id)s``.

    Args:
        record: what is logged.

    Returns:
        True: everything is logged.
    """
    record.request_id = request_id() or "-"
    return True


def basic_config(level: int = logging.INFO) -> None:
    """Log to stderr, each line with the request's id, unless the app has set up logging itself.

    Args:
        level: of what is logged at least.
    """
    logging.basicConfig(level=level, handlers=[_to_stderr()])


def own_handler() -> None:
    """Log what the drain says to stderr, whatever logging the app sets up."""
    logger = logging.getLogger("tornado_drain")
    if not logger.handlers:
        logger.addHandler(_to_stderr())
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _to_stderr() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.addFilter(add_request_id)
    layout = "%(asctime)s %(levelname)s %(request_id)s %(message)s"
    handler.setFormatter(logging.Formatter(layout))
    return handler
