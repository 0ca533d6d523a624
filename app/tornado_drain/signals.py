"""SIGTERM and SIGINT held for the drain, while a program installs handlers of its own for them."""

import asyncio
import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from tornado_drain.shutdown import SIGNALS

Loop = asyncio.SelectorEventLoop

# What Python does on these where nobody says otherwise.
_DEFAULT: dict[int, Any] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}

# Seconds from `release` to the signal: the event loop is to be waiting again, for that is where a
# signal finds a program; an exception that its handler raises must not end in a task.
_PAUSE = 0.05

_set, _get = signal.signal, signal.getsignal
_add, _remove = Loop.add_signal_handler, Loop.remove_signal_handler


class Signals:
    """What the program installs for SIGTERM and SIGINT: kept, and told to it when it asks.

    From now on `signal.signal` and the event loop's `add_signal_handler` only note what is given
    for these two, and `signal.getsignal` returns it. A forked child is without all this.

    Args:
        leave: the signal handler that is really installed.
    """

    def __init__(self, leave: Callable[[int, FrameType | None], None]) -> None:
        self._leave = leave
        self._handlers = dict(_DEFAULT)
        self._callbacks: dict[int, tuple[Loop, Callable[[], object]]] = {}
        self._wake: Callable[[], object] = _nothing
        self._holding = True
        self._pid = os.getpid()
        for number in SIGNALS:
            _set(number, leave)
        self._patch()
        os.register_at_fork(after_in_child=self.restore)

    def wake(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> bool:
        """Make a signal wake `loop` even if it comes just before the loop sleeps.

        Args:
            loop: which one.
            callback: called by the loop then.

        Returns:
            Whether this is asyncio's own loop; another's handlers can't be held.
        """
        if not isinstance(loop, Loop):
            return False
        self._wake = callback
        for number in SIGNALS:
            self._unnoted(_add, loop, number, callback)
            self._interrupt(number)
        return True

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        """Do at once what the program wants done on this signal; within the signal handler."""
        handler = self._handlers[number]
        if number in self._callbacks:
            loop, callback = self._callbacks[number]
            # In debug mode asyncio logs where it can't write the byte that wakes the loop.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(callback)
        elif callable(handler):
            handler(number, frame)
        elif handler != signal.SIG_IGN:
            _set(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def end_at_once(self) -> None:
        """Let the next signal end the process."""
        for number in SIGNALS:
            _set(number, signal.SIG_DFL)

    def ignores(self, number: int) -> bool:
        """Whether the program has said that it ignores this signal."""
        return bool(self._handlers[number] == signal.SIG_IGN)

    def release(self, number: int) -> None:
        """Put back what the program has installed, and send it the signal as if it came now.

        Where it has installed nothing, it gets a SystemExit with status 0 instead.
        """
        self.restore()
        handler = self._handlers[number]

        def once(number: int, frame: FrameType | None) -> None:
            self.end_at_once()
            if not callable(handler):
                sys.exit(0)
            handler(number, frame)

        _set(number, once)
        timer = threading.Timer(_PAUSE, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()

    def restore(self) -> None:
        """Put back what the program has installed."""
        if not self._holding:
            return
        self._holding = False
        for number, handler in self._handlers.items():
            if number not in self._callbacks:
                _set(number, handler)
                continue
            loop, callback = self._callbacks[number]
            if os.getpid() != self._pid or loop.is_closed():  # a forked child is without the loop
                _set(number, signal.SIG_DFL)
            else:
                _add(loop, number, callback)

    def _unnoted(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call what itself calls `signal.signal`, as asyncio does."""
        handlers, callbacks = dict(self._handlers), dict(self._callbacks)
        function(*arguments)
        self._handlers, self._callbacks = handlers, callbacks

    def _interrupt(self, number: int) -> None:
        """Let the signal interrupt what blocks the loop, which asyncio's `siginterrupt` forbids."""
        if _get(number) == self._leave:
            _set(number, self._leave)

    def _patch(self) -> None:
        def holds(number: object) -> bool:
            return self._holding and number in SIGNALS

        @functools.wraps(_set)
        def note(number: int, handler: Any) -> Any:
            if not holds(number):
                return _set(number, handler)
            # What the real one refuses is refused.
            if threading.current_thread() is not threading.main_thread():
                raise ValueError("signal only works in main thread of the main interpreter")
            if not callable(handler) and handler not in (signal.SIG_DFL, signal.SIG_IGN):
                raise TypeError("signal handler must be SIG_IGN, SIG_DFL, or a callable object")
            before = self._handlers[number]
            self._handlers[number] = handler
            self._callbacks.pop(number, None)
            return before

        @functools.wraps(_get)
        def get(number: int) -> Any:
            return self._handlers[number] if holds(number) else _get(number)

        @functools.wraps(_add)
        def add(loop: Loop, number: int, callback: Callable[..., object], *args: Any) -> None:
            _add(loop, number, callback, *args)
            if holds(number):
                _add(loop, number, self._wake)
                self._interrupt(number)
                self._callbacks[number] = (loop, functools.partial(callback, *args))

        @functools.wraps(_remove)
        def remove(loop: Loop, number: int) -> bool:
            if not holds(number):
                return _remove(loop, number)
            if loop.is_closed():
                self._unnoted(_remove, loop, number)
            if number not in self._callbacks or self._callbacks[number][0] is not loop:
                return False
            del self._callbacks[number]
            self._handlers[number] = _DEFAULT[number]
            return True

        signal.signal = note  # type: ignore[assignment]
        signal.getsignal = get  # type: ignore[assignment]
        Loop.add_signal_handler = add  # type: ignore[assignment,method-assign]
        Loop.remove_signal_handler = remove  # type: ignore[assignment,method-assign]


def _nothing() -> None:
    """Do nothing, but wake the loop."""
