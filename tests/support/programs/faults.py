"""The demo app, and beside it what the fault tests ask for."""

import json
import os
import subprocess
from pathlib import Path

from demo_app.handlers import make_app as make_demo_app
from tornado.web import Application, RequestHandler

from tests.support.paths import ROOT

# What the role deploys it by; the folder that `tests` is in goes in front.
VARIABLES = {
    "tornado_app_command": "python -m tornado_drain tests.support.programs.faults:make_app",
    "tornado_app_environment": {"PYTHONPATH": str(ROOT)},
}


class Record(RequestHandler):
    """Writes down each request as it understands it."""

    def get(self) -> None:
        request = self.request
        with Path(f"requests-{os.getpid()}.jsonl").open("a", encoding="utf-8") as lines:
            record = {
                "method": request.method,
                "uri": request.uri,
                "body": request.body.decode("latin-1"),
                "headers": list(request.headers.get_all()),
            }
            print(json.dumps(record), file=lines)
        self.write("recorded")

    head = post = put = get


class Blocked(RequestHandler):
    """Blocks the loop for `seconds` of the machine's own clock, whatever libfaketime shows."""

    def post(self) -> None:
        subprocess.run(["sleep", self.get_query_argument("seconds")], env={}, check=True)


class Large(RequestHandler):
    """Answers with `mib` MiB; not by way of nginx's disk with `buffering` ``no``."""

    async def get(self) -> None:
        self.set_header("X-Accel-Buffering", self.get_query_argument("buffering", "yes"))
        for _ in range(int(self.get_query_argument("mib"))):
            self.write(b"x" * 2**20)
            await self.flush()


def make_app() -> Application:
    """The application."""
    app = make_demo_app()
    app.add_handlers(".*", [("/record/.*", Record), ("/large", Large), ("/blocked", Blocked)])
    return app
