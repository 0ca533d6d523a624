"""Send SIGTERM to many processes, each at a random moment amid heavy logging; each is to drain.

    python sigterms.py TRIALS

Each trial is a fork of this process, which has imported everything. It serves, half of them behind
the wrapper, asks itself and logs without pause, into a short pipe as supervisord would give it. The
first one that does not drain ends it all.
"""

import asyncio
import fcntl
import logging
import os
import random
import re
import select
import signal
import sys
import time

import tornado_drain
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado_drain import program

WORKERS = 4
# Seconds: within these comes the signal, and within those a process that drains has left.
MOMENTS = 0.01
PATIENCE = 20.0

# Each process has an address of its own, made of its pid.
PORT = 20000

# Bytes, a page.
PIPE = 4096

USUAL = re.compile("200 GET|an app may have to say")


class Hello(RequestHandler):
    """Answers at once."""

    def get(self) -> None:
        self.write("hello")


async def ask(host: str) -> None:
    """Ask until told to close the connection."""
    reader, writer = await asyncio.open_connection(host, PORT)
    answer = b""
    while b"Connection: close" not in answer:
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        answer = await reader.readuntil(b"hello")
    writer.close()


async def log() -> None:
    """Log without pause."""
    while not tornado_drain.draining():
        for _ in range(20):
            logging.getLogger("app").info("what an app may have to say, on a line of its own")
        await asyncio.sleep(0)


async def load(host: str) -> None:
    """Ask and log."""
    await asyncio.gather(ask(host), ask(host), log())


async def serve(host: str) -> None:
    """Serve with the drain in the app."""
    loading = asyncio.create_task(load(host))  # begins once this one waits, and so listens
    await tornado_drain.serve(Application([("/", Hello)]), f"{host}:{PORT}")
    await loading


async def serve_alone(host: str) -> None:
    """Serve without the drain, for the wrapper."""
    server = HTTPServer(Application([("/", Hello)]))
    server.listen(PORT, host)
    await load(host)
    await asyncio.Event().wait()


def child(wrapped: bool, log_to: int) -> None:
    """Serve until told to leave; does not return."""
    os.dup2(log_to, 2)
    os.close(log_to)
    host = "127." + ".".join(str(byte) for byte in os.getpid().to_bytes(3))
    tornado_drain.basic_config()
    code = 1
    try:
        if wrapped:
            settings = tornado_drain.Settings.from_environment()
            program.run(lambda: asyncio.run(serve_alone(host)), settings)
        else:
            asyncio.run(serve(host))
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        logging.exception("in the trial")
    finally:
        os._exit(code)


def trial(wrapped: bool) -> str:
    """What is wrong with how a process left, with its log; "" if it drained."""
    log, log_to = os.pipe()
    fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, PIPE)
    pid = os.fork()
    if not pid:
        child(wrapped, log_to)
    os.close(log_to)
    text, part = b"", b"-"
    signal_at, ends = 0.0, time.monotonic() + PATIENCE
    signalled = False
    while part and (now := time.monotonic()) < ends:
        if signal_at and now >= signal_at and not signalled:
            os.kill(pid, signal.SIGTERM)
            signalled = True
        wait = signal_at - now if signal_at and not signalled else ends - now
        if select.select([log], [], [], wait)[0]:
            part = os.read(log, PIPE)
            text += part
            if not signal_at and b"200 GET" in text:
                signal_at = now + random.uniform(0, MOMENTS)
    os.close(log)
    if part:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if status == 0 and b"drained in" in text:
        return ""
    own = [line for line in text.decode().splitlines() if not USUAL.search(line)]
    return "\n".join(["wrapped" if wrapped else "served", f"wait status {status}", *own[-20:]])


def main() -> None:
    """Run the trials, several at a time."""
    trials = int(sys.argv[1])
    workers = []
    for number in range(WORKERS):
        pid = os.fork()
        if not pid:
            for each in range(number, trials, WORKERS):
                if wrong := trial(wrapped=each // WORKERS % 2 == 1):
                    sys.exit(f"trial {each}: {wrong}")
            sys.exit()
        workers.append(pid)
    failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in workers)
    print(f"{trials} trials, {failed} workers failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
