"""The user that tested processes run as: never root, whose capabilities hide faults."""

import os

# Of the kernel's overflow user, "nobody" everywhere.
_NOBODY = 65534

# Read anything: the interpreter and the checkout may be in root's home.
_READ = "dac_read_search"


def unprivileged() -> list[str]:
    """What to put in front of a command, so that it runs without privileges."""
    if os.geteuid():
        return []
    capabilities = [f"--{which}=-all,+{_READ}" for which in ("bounding-set", "inh-caps")]
    ids = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    return ["setpriv", *ids, *capabilities, f"--ambient-caps=+{_READ}", "--no-new-privs"]


def give(path: os.PathLike[str]) -> None:
    """Give a file or folder to that user."""
    if not os.geteuid():
        os.chown(path, _NOBODY, _NOBODY)
