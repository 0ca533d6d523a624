"""The stack in containers, from an engine without images to one without any again."""

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page, expect, sync_playwright

from tests.support import stack
from tests.support.paths import ROOT
from tests.support.role import Role
from tests.support.stack import LIGHT, wrk

PROJECT = "tornado-app-test"
PORT = 9501
SCREENSHOTS = ROOT / "out/page"

# The three lines of docs/containers.md for another's app.
THIRD_PARTY = {
    "TORNADO_APP_PACKAGES": "./app snakeviz",
    "TORNADO_APP_COMMAND": "python -m tornado_drain snakeviz.main:app",
    "TORNADO_APP_LISTENER": "port",
}


def run(*command: str, code: int = 0, variables: Mapping[str, str] | None = None) -> str:
    """Run a command for this project of Compose's, check its exit code, return what it printed."""
    project = {"COMPOSE_PROJECT_NAME": PROJECT, "PORT": str(PORT), "DOCKER_BUILDKIT": "1"}
    return stack.run(command, os.environ | project | dict(variables or {}), code)


def docker(*arguments: str) -> str:
    """What docker prints."""
    return run("docker", *arguments).strip()


def container(service: str) -> str:
    """The name of a service's container."""
    return f"{PROJECT}-{service}-1"


def inspected(service: str) -> dict[str, Any]:
    """What docker knows of a service's container."""
    [found] = json.loads(docker("inspect", container(service)))
    return dict(found)


def started() -> dict[str, str]:
    """When the containers that serve were started."""
    return {service: inspected(service)["State"]["StartedAt"] for service in ("nginx", "app")}


def status() -> dict[str, Any]:
    """What the conductor says of the processes."""
    text = docker("exec", container("app"), "demo-ctl", "--json", "status")
    return dict(json.loads(text))


def pids() -> list[int]:
    """The processes'."""
    return [process["pid"] for process in status()["processes"]]


def get(path: str) -> tuple[int, Any]:
    """Ask through nginx; returns the status and the body."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=60) as answer:
        return answer.status, answer.read().decode()


def left() -> list[str]:
    """What the engine still has of the project."""
    label = f"label=com.docker.compose.project={PROJECT}"
    found = docker("ps", "--all", "--quiet", "--filter", label).split()
    for kind in ("volume", "network", "image"):
        found += docker(kind, "ls", "--quiet", "--filter", label).split()
    base = ("image", "ls", "--filter", "label=tornado-app.base", "--filter", "reference=debian")
    return found + docker(*base, "--quiet").split()


@pytest.fixture(scope="module", autouse=True)
def containers() -> Iterator[None]:
    """A stack that is up, made without any image; nothing of it is left at the end."""
    run("make", "compose-down")
    assert left() == []
    run("make", "compose-up")
    yield
    run("make", "compose-down")
    assert left() == []


def wait_healthy(service: str) -> None:
    """Wait until the engine says so."""
    deadline = time.monotonic() + 60
    while inspected(service)["State"]["Health"]["Status"] != "healthy":
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_it_is_up_and_healthy() -> None:
    wait_healthy("nginx")
    wait_healthy("app")
    processes = status()["processes"]
    assert [process["port"] for process in processes] == [9001, 9002, 9003]
    assert all(process["ready"] for process in processes)
    assert get("/hello")[0] == 200
    shown = run("make", "compose-status")
    assert all(str(process["pid"]) in shown for process in processes)


def test_only_loopback_is_published() -> None:
    assert inspected("nginx")["NetworkSettings"]["Ports"] == {
        "8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(PORT)}]
    }


def test_rolls_lose_nothing() -> None:
    before = pids()
    with wrk(PORT, "/orders?id=o") as load:
        pass
    assert load.failed > 0, "GET /orders is refused: the load does count failures"
    with wrk(PORT) as load:
        run("make", "compose-roll")
        run("docker", "exec", container("app"), "demo-ctl", "restart")
    assert load.failed == 0, load.output
    assert load.requests > 1000
    assert not set(before) & set(pids())


def test_another_release_loses_nothing() -> None:
    since = started()
    before = status()
    with wrk(PORT, LIGHT) as load:
        run(
            "make",
            "compose-up",
            variables={"TORNADO_APP_PACKAGES": "./app ./app/demo_app snakeviz"},
        )
    assert load.failed == 0, load.output
    assert started() == since, "neither nginx nor supervisord was restarted"
    assert status()["release"] != before["release"]
    assert not {process["pid"] for process in before["processes"]} & set(pids())


def test_a_broken_release_is_reverted() -> None:
    before = status()
    with wrk(PORT, LIGHT) as load:
        output = run(
            "make",
            "compose-up",
            code=2,
            variables={"TORNADO_APP_COMMAND": "python -m demo_app.missing"},
        )
    assert "reverted: demo-trial" in output
    assert "No module named demo_app.missing" in output
    assert load.failed == 0, load.output
    assert status() | {"processes": None} == before | {"processes": None}
    assert [process["pid"] for process in before["processes"]] == pids()


def test_configuration_is_what_the_role_writes() -> None:
    role = Role(
        tornado_app_name="demo",
        tornado_app_command="python -m demo_app",
        tornado_app_listener="unix",
        tornado_app_processes=3,
        tornado_app_rootless=True,
        tornado_app_home="/opt/app",
        tornado_app_nginx_listen="8080",
        tornado_app_nginx_supervised=False,
        ansible_facts={"user_id": "app", "user_gid": 10001},
        __tornado_app_release_id=status()["release"],
        __tornado_app_nginx_version=re.findall(
            r"nginx/(\S+)", docker("exec", container("nginx"), "nginx", "-v")
        )[0],
        __tornado_app_nginx_includes=["/opt/app/nginx/site.conf"],
    )
    for service, path, template in (
        ("nginx", "nginx/nginx.conf", "nginx.conf.j2"),
        ("nginx", "nginx/site.conf", "nginx_site.conf.j2"),
        ("app", "supervisord.conf", "supervisord.conf.j2"),
        ("app", "current", "configuration.conf.j2"),
    ):
        found = subprocess.run(
            ["docker", "exec", container(service), "cat", f"/opt/app/{path}"],
            capture_output=True,
            check=True,
        )
        assert found.stdout.decode() == role.render(template), path


def config(**variables: str) -> dict[str, Any]:
    """What Compose makes of the ladder and the rest."""
    text = run("make", "--silent", "compose-config", variables=variables)
    return dict(yaml.safe_load(text)["services"])


def test_one_number_moves_the_ladder() -> None:
    ladder = ROOT / "compose/ladder.yaml"
    kept = ladder.read_text()
    try:
        for max_wait, services in ((30, config()), (60, config(TORNADO_APP_MAX_WAIT="60"))):
            app = services["app"]
            rungs = [
                int(app["labels"]["tornado_app.max_wait"]),
                int(app["labels"]["tornado_app.stopwaitsecs"]),
                seconds(app["stop_grace_period"]),
                seconds(services["nginx"]["stop_grace_period"]),
            ]
            role = Role(tornado_app_max_wait=max_wait)
            assert rungs[:3] == [
                max_wait,
                role("{{ __tornado_app_stopwaitsecs | int }}"),
                role("{{ __tornado_app_timeout_stop | int }}"),
            ]
            assert rungs == sorted(set(rungs))
            assert f"TimeoutStopSec={rungs[2]}" in role.render("unit.service.j2")
            assert f"stopwaitsecs={rungs[1]}" in role.render("configuration.conf.j2")
            [read_timeout] = re.findall(
                r"proxy_read_timeout (\d+)s", role.render("nginx_site.conf.j2")
            )
            assert int(read_timeout) > max_wait
        assert inspected("app")["Config"]["StopTimeout"] == 40
        # Without `make`, which would write the ladder again.
        output = run(*compose(), "build", "app", code=17, variables={"TORNADO_APP_MAX_WAIT": "90"})
        assert "TORNADO_APP_MAX_WAIT: got 90; compose/ladder.yaml is of another value" in output
    finally:
        ladder.write_text(kept)


def seconds(duration: str) -> int:
    """Of one such as 1m5s."""
    minutes, rest = re.findall(r"^(?:(\d+)m)?(?:(\d+)s)?$", duration)[0]
    return 60 * int(minutes or 0) + int(rest or 0)


def compose() -> list[str]:
    """The command line of Compose, as the Makefile has it."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    program = ["docker", "compose"] if plugin.returncode == 0 else [".cache/docker-compose"]
    return [*program, "--project-directory", "compose"]


def test_containers_may_do_little() -> None:
    for service in ("nginx", "app"):
        found = inspected(service)
        host = found["HostConfig"]
        assert found["Config"]["User"] == "10001:10001"
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
        assert host["LogConfig"]["Config"] == {"max-file": "3", "max-size": "10m"}
    [first] = docker("exec", container("app"), "cat", "/proc/1/cmdline").split("\0")[1:2]
    assert first == "/opt/app/conductor/conductor/supervisord.py"


def test_images_hold_no_tools_and_no_secret() -> None:
    for image in ("nginx", "app", "release"):
        name = f"{PROJECT}/{image}"
        found = docker(
            "run", "--rm", "--user", "0", "--entrypoint", "find", name, "/", "-xdev"
        ).splitlines()
        for tool in ("gcc", "cc", "git", "ansible-playbook", "debootstrap"):
            assert not [path for path in found if path.endswith(f"/bin/{tool}")], image
        for cache in ("/.cache/", "/var/cache/apt/", "/var/lib/apt/lists/", "/run/secrets/"):
            assert not [path for path in found if cache in path and not path.endswith("/")], image
        assert not [path for path in found if "ansible" in path], image
        history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", name)
        assert "://" not in history.replace("http://127.0.0.1", "")


def test_app_restarted_by_the_engine_comes_back() -> None:
    release = status()["release"]
    docker("restart", "--time", "45", container("app"))
    wait_healthy("app")
    assert status()["release"] == release
    assert get("/hello")[0] == 200


def test_stop_answers_what_is_in_flight_on_all_at_once() -> None:
    with ThreadPoolExecutor(6) as threads:
        answers = [threads.submit(get, "/slow?seconds=5") for _ in range(6)]
        time.sleep(0.5)
        began = time.monotonic()
        run(*compose(), "stop")
        took = time.monotonic() - began
        found = [answer.result() for answer in answers]
    assert [code for code, _ in found] == [200] * 6
    assert {json.loads(body)["port"] for _, body in found} == {9001, 9002, 9003}
    assert 4 < took < 10, took
    run("make", "compose-up")
    assert get("/hello")[0] == 200


def numbers(page: Page) -> dict[str, int]:
    """The page's counts."""
    names = ("answered", "failed", "messages", "lost", "moved", "cut")
    return {name: int(page.inner_text(f"#{name}").replace(",", "")) for name in names}


def tiles(page: Page) -> dict[str, str | None]:
    """The pid of each process that serves, by port; one on trial is none of them."""
    found = page.locator(".tile[data-state=serving]").all()
    shown = {str(t.get_attribute("data-port")): t.get_attribute("data-pid") for t in found}
    return {port: pid for port, pid in shown.items() if port != "9000"}


def test_the_page_shows_a_roll() -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, ThreadPoolExecutor(3) as threads:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        problems: list[str] = []
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{PORT}/")
        expect(page.locator(".tile[data-state=serving]")).to_have_count(3)
        expect(page.locator("#messages")).not_to_have_text(re.compile("^[0-3]$"))
        before = tiles(page)
        assert sorted(before) == ["9001", "9002", "9003"]
        # One on each process: draining takes a time that can be seen.
        slow = [threads.submit(get, "/slow?seconds=5") for _ in range(3)]
        roll = subprocess.Popen(
            ["docker", "exec", container("app"), "demo-ctl", "restart"],
            stdout=subprocess.PIPE,
            text=True,
        )
        page.wait_for_selector(".tile[data-state=draining]", timeout=30_000)
        page.screenshot(path=SCREENSHOTS / "rolling-1280-light.png", full_page=True)
        told, _ = roll.communicate()
        assert roll.returncode == 0, told
        assert [answer.result()[0] for answer in slow] == [200] * 3
        page.wait_for_timeout(2000)
        after = tiles(page)
        assert sorted(after) == sorted(before)
        assert not set(before.values()) & set(after.values())
        found = numbers(page)
        assert found["answered"] > 20
        assert found["moved"] >= 1
        assert {found["failed"], found["lost"], found["cut"]} == {0}
        for width, height in ((1280, 900), (390, 844)):
            page.set_viewport_size({"width": width, "height": height})
            overflow = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert overflow == 0, f"{width} px wide, it scrolls sideways"
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                name = f"{width}-{scheme}.png"
                page.screenshot(path=SCREENSHOTS / name, full_page=True)
        browser.close()
    assert problems == []
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {
        f"127.0.0.1:{PORT}"
    }


def test_the_load_of_the_demo() -> None:
    output = run("make", "compose-load", variables={"LOAD_SECONDS": "10"})
    [total] = re.findall(r"Aggregated +(\d+) +(\d+)\(", output)
    assert int(total[0]) > 500
    assert total[1] == "0"


def test_an_app_of_others_in_three_lines() -> None:
    page = (ROOT / "docs/containers.md").read_text()
    for name, value in THIRD_PARTY.items():
        assert re.search(rf'{name}="?{re.escape(value)}"?\n', page), f"the page's {name}"
    since = started()
    run("make", "compose-up", variables=THIRD_PARTY)
    assert started()["nginx"] != since["nginx"], "another listener is another site"
    assert "supervisord.conf" in get("/snakeviz/%2Fopt%2Fapp")[1]
    before = pids()
    with wrk(PORT, "/static/snakeviz.css", post=False) as load:
        run("make", "compose-roll")
    assert load.failed == 0, load.output
    assert not set(before) & set(pids())
