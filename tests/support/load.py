"""``python -m tests.support.load HOST PORT PATH CLIENTS FILE``: clients ask until FILE is gone.

Prints what they saw, as JSON.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path

from tests.support.stack import wrk


def main(host: str, port: str, path: str, clients: str, file: str) -> None:
    """Make FILE once the clients ask."""
    until = Path(file)
    with wrk(int(port), path, int(clients), host=host) as load:
        until.touch()
        while until.exists():
            time.sleep(0.1)
    print(json.dumps(dataclasses.asdict(load) | {"clients": int(clients)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
