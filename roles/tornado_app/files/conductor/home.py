"""The home of an app: where the role put what, as far as the conductor needs it."""

from pathlib import Path

from conductor.configuration import Configuration
from conductor.errors import Failed


class Home:
    """The folder `path`.

    Attributes:
        current: links to the configuration that should run.
        previous: links to the one before, which a rollback goes to.
        trial: for supervisord, the program on trial while there is one.
        lock: held by the conductor that changes something.
        conductor: links to the conductor that is deployed, in `conductors`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.current = path / "current"
        self.previous = path / "previous"
        self.trial = path / "trial.conf"
        self.lock = path / "rolling_restart.lock"
        self.conductor = path / "conductor"

    def configuration(self, name: str) -> Path:
        """Where the configuration of this id is."""
        return self.path / "configurations" / f"{name}.conf"

    def current_configuration(self) -> Configuration:
        """The configuration that should run; raises `Failed` where there is none."""
        path = linked(self.current)
        if path is None:
            raise Failed(f"{self.current}: nothing is deployed yet")
        return Configuration.read(path)


def link(path: Path, target: Path | None) -> None:
    """Point a link elsewhere in one step (rename(2)), or take it away."""
    if target is None:
        path.unlink(missing_ok=True)
        return
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)


def linked(path: Path) -> Path | None:
    """Where a link points, None where there is none."""
    try:
        return path.parent / path.readlink()
    except FileNotFoundError:
        return None
