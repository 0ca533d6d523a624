"""What Prometheus reads at ``/-/metrics``, where `prometheus_client` is installed.

``pip install tornado-drain[metrics]``. The app's own metrics, and those of the Python process, are
in the same registry and so in the same answer.
"""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, Info, generate_latest

from tornado_drain.drain import Drain, State

__all__ = ["CONTENT_TYPE_LATEST", "generate_latest", "measure"]

_requests = Counter("tornado_drain_requests", "Requests answered, by class of status.", ["status"])
_seconds = Histogram(
    "tornado_drain_request_seconds",
    "From a request's headers to the end of its handler, WebSockets apart.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
_in_flight = Gauge("tornado_drain_requests_in_flight", "Requests begun and not ended.")
_websockets = Gauge("tornado_drain_websockets", "Open WebSockets.")
_connections = Gauge("tornado_drain_connections", "Open connections, idle ones among them.")
_draining = Gauge("tornado_drain_draining", "1 from SIGTERM to the process's end, 0 before.")
_info = Info("tornado_drain", "The release that the process runs, and the process's name.")


def measure(drain: Drain, port: int, release: str) -> None:
    """Count what this drain sees from now on.

    Args:
        drain: the process's.
        port: the process's identity.
        release: what it runs.
    """
    for status in range(1, 6):
        _requests.labels(f"{status}xx")
    _in_flight.set_function(lambda: drain.in_flight)
    _websockets.set_function(lambda: drain.websockets)
    _connections.set_function(lambda: drain.open_connections)
    _draining.set_function(lambda: drain.state >= State.SIGNALLED)
    _info.info({"port": str(port), "release": release})
    drain.on_answer = _count


def _count(status: int, seconds: float) -> None:
    _requests.labels(f"{status // 100}xx").inc()
    # A WebSocket takes as long as it is open.
    if status != 101:
        _seconds.observe(seconds)
