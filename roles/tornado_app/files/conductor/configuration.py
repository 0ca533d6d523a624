"""A configuration: what the role wrote for supervisord and for the conductor, in one file."""

import configparser
from dataclasses import dataclass
from pathlib import Path

from conductor import configuration_1_0
from conductor.errors import Failed


@dataclass(frozen=True)
class Process:
    """One process; `log` is the file that it writes to."""

    name: str
    port: int
    listen: str
    log: Path


@dataclass(frozen=True)
class Trial:
    """One more process, on an address that nginx does not know, and its section for supervisord.

    It must stay ready for `seconds`.
    """

    process: Process
    seconds: float
    program: dict[str, str]


@dataclass(frozen=True)
class Configuration:
    """One file of `<home>/configurations`; times are in seconds, `log` is a folder."""

    path: Path
    name: str
    release: str
    ready_path: str
    ready_status: int
    ready_timeout: float
    stop_timeout: float
    stopwaitsecs: float
    log: Path
    keep: int
    processes: dict[str, Process]
    trial: Trial | None

    @classmethod
    def read(cls, path: Path) -> "Configuration":
        """Parse a configuration; raises `Failed` where it is missing or not whole."""
        # As supervisord reads it (supervisor.options.UnhosedConfigParser).
        parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
        try:
            parser.read_string(path.read_text(encoding="utf-8"), str(path))
            configuration_1_0.upgrade(parser)
            return cls._of(path, parser)
        except (OSError, KeyError, ValueError, configparser.Error) as error:
            raise Failed(f"{path}: not a configuration of the role: {error!r}") from error

    @classmethod
    def _of(cls, path: Path, parser: configparser.RawConfigParser) -> "Configuration":
        app = parser["tornado_app"]
        processes = {}
        for section in parser.sections():
            if section.startswith("process:"):
                name = section.removeprefix("process:")
                fields = parser[section]
                processes[name] = Process(
                    name, int(fields["port"]), fields["listen"], Path(fields["log"])
                )
        on_trial = processes.pop(f"{app['name']}-trial", None)
        if not processes:
            raise ValueError("no process")
        trial = None
        if on_trial is not None:
            trial = Trial(on_trial, float(app["trial"]), dict(parser["trial"]))
        return cls(
            path=path,
            name=app["name"],
            release=app["release"],
            ready_path=app["ready_path"],
            ready_status=int(app["ready_status"]),
            ready_timeout=float(app["ready_timeout"]),
            stop_timeout=float(app["stop_timeout"]),
            stopwaitsecs=float(app["stopwaitsecs"]),
            log=Path(app["log"]),
            keep=int(app["keep"]),
            processes=dict(sorted(processes.items(), key=lambda item: item[1].port)),
            trial=trial,
        )

    @property
    def trial_name(self) -> str:
        """The name of the program on trial; no port at its end: it is not one of the app's."""
        return f"{self.name}-trial"
