"""SIGKILL: what dies with its process, and what does not."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from plugins.module_utils import proc
from tests.support.orders import Customers
from tests.support.stack import Stack, children
from tests.support.wait import until

BASE_PORT = 9703
# One of nginx's is killed; the other is there.
VARIABLES = {"tornado_app_nginx_workers": 2}


def pids(stack: Stack) -> dict[int, int]:
    """The pid of each port's process, all being ready."""
    processes = stack.status()["processes"]
    assert all(process["ready"] for process in processes)
    return {process["port"]: process["pid"] for process in processes}


def test_a_process_killed_loses_the_posts_in_flight_on_it(stack: Stack) -> None:
    """May fail: POSTs in flight on the process that is killed, with 502, none of them sent twice.

    GETs in flight there are answered by another process, and so is all that comes later.
    """
    (_, victim), *others = pids(stack).items()

    def ask(number: int) -> tuple[bool, int, dict[str, Any], str]:
        post = number % 2 == 0
        status, body, headers = stack.get("/slow?seconds=3", b"x" if post else None)
        return post, status, json.loads(body) if status == 200 else {}, headers["X-Request-ID"]

    with Customers(stack) as customers, ThreadPoolExecutor(60) as threads:
        asked = [threads.submit(ask, number) for number in range(60)]
        time.sleep(1)
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        gone = until(lambda: not proc.alive(victim))
        answers = [answer.result() for answer in asked]
        until(lambda: all(process["ready"] for process in stack.status()["processes"]))
    time.sleep(2)
    log = {line["request_id"]: line for line in stack.access_log()}

    def is_there(line: dict[str, Any]) -> bool:
        return f"{BASE_PORT}" in line["upstream"] and "," not in line["upstream"]

    lost = [request_id for post, status, _, request_id in answers if status == 502 and post]
    assert {status for post, status, _, _ in answers if not post} == {200}
    assert {status for post, status, _, _ in answers if post} == {200, 502}
    # 30 POSTs on three processes, the least busy of them first.
    assert 5 <= len(lost) <= 15
    assert all(is_there(log[request_id]) for request_id in lost)
    retried = [log[i] for post, _, _, i in answers if not post and "," in log[i]["upstream"]]
    assert 5 <= len(retried) <= 15
    assert all(line["upstream"].startswith(log[lost[0]]["upstream"]) for line in retried)
    failed = customers.failed()
    assert len(failed) <= customers.clients
    assert all(order.status == 502 and is_there(log[order.request_id]) for order in failed)
    assert all(killed < order.ended and order.began < gone + 1 for order in failed)
    now = pids(stack)
    assert now.pop(BASE_PORT) != victim
    assert now == dict(others)


def test_supervisord_killed_takes_nothing_along(stack: Stack) -> None:
    """Nothing may fail: nginx and the processes go on, unwatched, and `status` says so.

    The next run of the playbook starts another supervisord, which first drains what the killed one
    left. There, requests may fail that come while nginx is not there, unexecuted. (systemd does
    both by itself, and at once, for it kills what is left of the unit: all in flight is lost.)
    """
    supervisord = int((stack.home / "run/supervisord.pid").read_text())
    before = pids(stack)
    left = children(supervisord)
    with Customers(stack) as customers:
        os.kill(supervisord, signal.SIGKILL)
        until(lambda: not proc.alive(supervisord))
        assert "supervisord does not answer" in stack.ctl("restart", code=1)
        time.sleep(2)
    assert customers.failed() == []
    assert all(map(proc.alive, left))

    with Customers(stack) as customers:
        healing = time.monotonic()
        stack.playbook()
        healed = time.monotonic()
    failed = customers.failed()
    assert all(order.began < healed and order.ended > healing for order in failed)
    executed = set(stack.orders())
    # What nginx had passed on was answered: a failed order is one that never arrived.
    assert [order for order in failed if order.id in executed] == []
    after = pids(stack)
    assert set(before.values()) & set(after.values()) == set()
    assert not any(map(proc.alive, left))
    assert set(after.values()) < children(int((stack.home / "run/supervisord.pid").read_text()))


def test_an_nginx_worker_killed_cuts_its_connections(stack: Stack) -> None:
    """May fail: on each client's connection to that worker, the request in flight, once.

    It may have been executed. The next one goes to another worker, and reaches all processes.
    But nginx goes on counting in the upstream's zone what its dead worker had in flight there, and
    `least_conn` prefers the others by as many until a reload: few requests might not reach all.
    """

    def answered_by(_: int) -> int:
        port: int = json.loads(stack.get("/slow?seconds=1")[1])["port"]
        return port

    master = int((stack.home / "run/nginx.pid").read_text())
    workers = children(master)
    victim = min(workers)
    before = pids(stack)
    with Customers(stack, 50) as customers, ThreadPoolExecutor(90) as threads:
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        gone = until(lambda: not proc.alive(victim) and len(children(master)) == len(workers))
        time.sleep(1)
        ports = set(threads.map(answered_by, range(90)))
    failed = customers.failed()
    assert len(failed) < customers.clients
    assert all(order.status == 0 for order in failed)
    assert all(killed < order.ended and order.connected < gone for order in failed)
    assert ports == set(before)
    assert children(master) == workers - {victim} | (children(master) - workers)
    assert pids(stack) == before
