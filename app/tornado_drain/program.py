"""A third-party Tornado program, run unmodified in this interpreter, with the drain put in."""

import asyncio
import functools
import importlib.util
import logging
import os
import re
import runpy
import shutil
import signal
import socket
import sys
import threading
import tokenize
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import tornado
import tornado.process
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop

from tornado_drain.drain import State
from tornado_drain.listener import BACKLOG, bind
from tornado_drain.logs import own_handler
from tornado_drain.patches import OLDEST, find_servers, is_watched
from tornado_drain.settings import Settings
from tornado_drain.shutdown import Shutdown
from tornado_drain.signals import Signals

_logger = logging.getLogger("tornado_drain")

# Seconds in which a program usually starts its first server.
_START = 10.0

_FORKS = "the program forks its servers; start a process for each port instead"


def run(start: Callable[[], object], settings: Settings) -> None:
    """Run a program, as `find` has found it, until it ends; raises what it raises.

    Its HTTP servers are found as they start, and answer ``/-/ready``, ``/-/status`` and
    ``/-/metrics`` ahead of the app. On SIGTERM or SIGINT they drain while the program goes on.
    After that the program's own handler of that signal runs, or, where it has none, it gets a
    SystemExit with status 0. What it then does, and what keeps the interpreter after its main
    module has ended, an executor's jobs say, may take until the exit limit
    (``TORNADO_DRAIN_EXIT_LIMIT``), by default what is left of MAX_WAIT and 3 seconds; then the
    process ends, with status 0. A second signal ends the process at once.

    What can't be drained is said in a line on stderr.

    Args:
        start: what runs it.
        settings: the process's.
    """
    own_handler()
    if tornado.version_info < OLDEST:
        _logger.warning("not drained: Tornado %s; 6.2 or newer can be", tornado.version)
        start()
        return
    program = _Program(settings)
    try:
        start()
    except KeyboardInterrupt:
        # What Ctrl-C is to a program that does not handle it, and it was told after its drain.
        if not program.was_signalled():
            raise
    finally:
        program.ended()


def find(command: list[str]) -> Callable[[], object]:
    """Return what runs a command as its own interpreter would; `sys.argv` is set for it.

    Args:
        command: a console script (looked for beside this interpreter, then on PATH), or a Python
            file, or ``-m`` and a module; each with its arguments, and after ``python`` or not.

    Raises:
        ValueError: the command is none of these.
    """
    name, *arguments = command or [""]
    named_python = re.fullmatch(r"python[0-9.]*", Path(name).name) is not None
    if named_python:
        if "/" in name and Path(name).parent.resolve() != Path(sys.executable).parent.resolve():
            raise ValueError(f"got {name}; expected a program for {sys.executable}")
        name, *arguments = arguments or [""]
    if name == "-m" and arguments:
        return _module(arguments)
    if not name or name.startswith("-"):
        raise ValueError(f"got {name!r}; expected a console script, a Python file, or -m MODULE")
    if named_python or "/" in name:
        path: str | None = name
    else:
        beside = str(Path(sys.executable).with_name(name))
        path = beside if os.access(beside, os.X_OK) else shutil.which(name)
        if path is None and name.endswith(".py"):
            path = name
    if path is None or not Path(path).exists():
        raise ValueError(f"got {name!r}; there is no such program or file")
    return _file(path, arguments)


def _module(arguments: list[str]) -> Callable[[], object]:
    # Only the outermost: to find one within a package imports the package, too early.
    top = arguments[0].partition(".")[0]
    if not top or importlib.util.find_spec(top) is None:
        raise ValueError(f"got -m {arguments[0]}; there is no such module")
    sys.argv = arguments
    return lambda: runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _file(path: str, arguments: list[str]) -> Callable[[], object]:
    if not Path(path).is_dir() and not zipfile.is_zipfile(path):
        try:
            with tokenize.open(path) as source:
                compile(source.read(), path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, OSError) as error:
            raise ValueError(f"got {path}; expected a Python program: {error}") from error

    def start() -> None:
        if not sys.flags.safe_path:
            # In place of the working directory, which `python -m tornado_drain` has put there.
            sys.path[0] = str(Path(path).resolve().parent)
        runpy.run_path(path, run_name="__main__")

    sys.argv = [path, *arguments]
    return start


class _Program:
    """What is known of the program that runs here."""

    def __init__(self, settings: Settings) -> None:
        self._shutdown = Shutdown(settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_ran = False
        self._running: asyncio.Task[None] | None = None  # the shutdown
        self._said = False  # that it is not drained, or that it drains itself
        self._pid = os.getpid()
        find_servers(self._found, self._forks)
        self._patch_exec()
        self._signals = Signals(self._leave)
        late = f"no Tornado HTTP server has started yet, {_START:g} s after the program"
        self._late = threading.Timer(_START, self._not_drained, (late,))
        self._late.daemon = True
        self._late.start()

    def was_signalled(self) -> bool:
        """Whether it was told to leave while it served."""
        return self._shutdown.drain.state >= State.SIGNALLED

    def ended(self) -> None:
        """Leave signals to Python, and wait until the exit limit for what keeps the interpreter."""
        if os.getpid() != self._pid:
            return
        self._late.cancel()
        if self.was_signalled():
            self._shutdown.limit_exit()
        elif not self._said and self._loop is None:
            self._not_drained("the program has ended and started no Tornado HTTP server")
        self._signals.restore()

    def _not_drained(self, why: str) -> None:
        self._said = True
        self._log(logging.WARNING, f"not drained: {why}")

    def _log(self, level: int, text: str) -> None:
        _logger.disabled = False
        _logger.log(level, "%s", text)

    def _forks(self) -> None:
        self._late.cancel()
        self._not_drained(_FORKS)

    def _patch_exec(self) -> None:
        def telling(execute: Callable[..., Any]) -> Any:
            @functools.wraps(execute)
            def told(path: Any, *arguments: Any) -> Any:
                if os.getpid() == self._pid:
                    self._not_drained(f"the program replaces itself with {path}; start that")
                return execute(path, *arguments)

            return told

        os.execv, os.execve = telling(os.execv), telling(os.execve)

    def _found(self, server: HTTPServer, sockets: list[socket.socket]) -> list[socket.socket]:
        loop = IOLoop.current().asyncio_loop  # type: ignore[attr-defined]
        if os.getpid() != self._pid:
            if tornado.process.task_id() is None:  # else the parent has said it
                self._not_drained(_FORKS)
            return sockets
        self._late.cancel()
        if is_watched(server) and not self._shutdown.has(server):
            self._said = True  # by `tornado_drain.serve`, whose own signal handlers do the rest
            return sockets
        if threading.current_thread() is not threading.main_thread():
            self._not_drained("an HTTP server that runs outside of the main thread")
            return sockets
        if not self._signals.wake(loop, self._shutdown.proceed):
            self._not_drained(f"an HTTP server on an event loop that is not asyncio's, {loop!r}")
            return sockets
        self._loop, self._loop_ran = loop, False
        loop.call_soon(self._runs)
        settings = self._shutdown.settings
        sockets = self._moved(sockets, settings)
        _logger.disabled = False  # which logging.config does to loggers that it does not know
        self._shutdown.add(server, sockets)
        for sock in sockets:
            sock.listen(BACKLOG)  # again: Tornado's own, 128, does not hold a burst
            address = sock.getsockname()
            name = f"unix:{address}"
            if sock.family != socket.AF_UNIX:
                name = f"{address[0]}:{address[1]}"
            self._log(logging.INFO, f"serving on {name}, release {settings.release or 'unnamed'}")
        return sockets

    def _runs(self) -> None:
        self._loop_ran = True

    def _moved(self, sockets: list[socket.socket], settings: Settings) -> list[socket.socket]:
        """Listen on the role's unix socket in place of the port that is the process's identity."""
        own = [
            sock
            for sock in sockets
            if sock.family != socket.AF_UNIX and sock.getsockname()[1] == settings.port
        ]
        if not own or not settings.listen.startswith("unix:"):
            return sockets
        for sock in own:
            # Not closed: some programs ask it for its address afterwards.
            sock.shutdown(socket.SHUT_RDWR)
        return [sock for sock in sockets if sock not in own] + bind(settings.listen)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        loop = self._loop
        # Before its first server, or after its loop, the program is as it is without the drain.
        if loop is None or loop.is_closed() or (self._loop_ran and not loop.is_running()):
            self._signals.pass_on(number, frame)
        elif number != signal.SIGINT or not self._signals.ignores(number):
            self._signals.end_at_once()
            self._shutdown.on_signal(loop, lambda: self._begin(number))

    def _begin(self, number: int) -> None:
        async def run() -> None:
            _logger.disabled = False
            try:
                await self._shutdown.run()
            except Exception:
                _logger.exception("the drain failed")
            self._signals.release(number)

        self._running = asyncio.get_running_loop().create_task(run())
