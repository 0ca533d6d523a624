"""The conductor's configurations: what the role writes, what 1.0 wrote, and what is broken."""

from pathlib import Path

import pytest
from conductor.batch import batch_size, batches
from conductor.configuration import Configuration
from conductor.errors import Failed

from tests.support.home import role_of
from tests.support.paths import ROOT

OLD = ROOT / "tests/conductor/configuration_1_0.conf"


@pytest.mark.parametrize("listener", ["port", "unix"])
@pytest.mark.parametrize("home", ["/srv/shop", "/srv/100%d"])
def test_what_the_role_writes(tmp_path: Path, listener: str, home: str) -> None:
    role = role_of(
        Path(home),
        tornado_app_name="shop",
        tornado_app_processes=3,
        tornado_app_listener=listener,
        tornado_app_max_wait=20,
        tornado_app_ready_timeout=7,
        tornado_app_ready_path="{prefix}health",
        tornado_app_ready_status=204,
        tornado_app_trial=2,
        tornado_app_keep_releases=4,
    )
    path = tmp_path / "a.conf"
    path.write_text(role.render("configuration.conf.j2"))
    read = Configuration.read(path)
    assert (read.name, read.release, read.keep) == ("shop", "0123456789ab", 4)
    assert (read.ready_path, read.ready_status, read.ready_timeout) == ("/health", 204, 7)
    assert (read.stopwaitsecs, read.stop_timeout) == (25, 42)
    assert str(read.log) == f"{home}/log"
    assert list(read.processes) == ["shop-9001", "shop-9002", "shop-9003"]
    process = read.processes["shop-9002"]
    listen = f"unix:{home}/run/9002.sock" if listener == "unix" else "127.0.0.1:9002"
    assert (process.port, process.listen) == (9002, listen)
    assert str(process.log) == f"{home}/log/shop-9002.log"
    assert read.trial is not None
    assert read.trial.seconds == 2
    assert read.trial.process.name == read.trial_name == "shop-trial"
    assert read.trial.process.port == 9000
    assert read.trial.program["stopwaitsecs"] == "25"
    assert 'TORNADO_DRAIN_EXIT_LIMIT="23"' in read.trial.program["environment"]


def test_without_a_trial(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text(role_of(tmp_path, tornado_app_trial=0).render("configuration.conf.j2"))
    assert Configuration.read(path).trial is None


def test_what_1_0_wrote(tmp_path: Path) -> None:
    read = Configuration.read(OLD)
    assert (read.stopwaitsecs, read.stop_timeout, str(read.log)) == (10, 30, "/var/log/shop")
    assert list(read.processes) == ["shop-9001", "shop-9002", "shop-9003"]
    process = read.processes["shop-9003"]
    assert (process.port, process.listen) == (9003, "127.0.0.1:9003")
    assert str(process.log) == "/var/log/shop/shop-9003.log"
    assert read.trial is not None
    assert read.trial.process.port == 9000
    assert read.trial.program["directory"] == "/var/lib/shop"
    text = OLD.read_text().replace("127.0.0.1:9001", "unix:/run/100%%/1.sock")
    (tmp_path / "a.conf").write_text(text)
    [first, *_] = Configuration.read(tmp_path / "a.conf").processes.values()
    assert first.listen == "unix:/run/100%/1.sock"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[tornado_app]", "[other]"),
        ("ready_status=200", "ready_status=fine"),
        ("stop_timeout=", "#"),
        ("port=9001", "port="),
        ("listen=127.0.0.1:9001", ""),
        ("[process:", "[procedure:"),
        ("[trial]", "[trail]"),
        ("[process:app-9001]", "process:app-9001]"),
    ],
)
def test_what_is_not_whole_is_refused(tmp_path: Path, old: str, new: str) -> None:
    text = role_of(tmp_path).render("configuration.conf.j2")
    assert old in text
    path = tmp_path / "a.conf"
    path.write_text(text.replace(old, new))
    with pytest.raises(Failed, match=r"a\.conf: not a configuration of the role") as failed:
        Configuration.read(path)
    assert failed.value.code == 1


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"none\.conf: not a configuration of the role"):
        Configuration.read(tmp_path / "none.conf")


@pytest.mark.parametrize(
    ("text", "processes", "size"),
    [("1", 1, 1), ("1", 3, 1), ("2", 3, 2), ("25%", 8, 2), ("25%", 3, 1), ("99%", 4, 3)],
)
def test_a_batch(text: str, processes: int, size: int) -> None:
    assert batch_size(text, processes) == size


@pytest.mark.parametrize("text", ["3", "100%", "400%", "0", "0%", "-1", "x", "1.5", "", "1 "])
def test_a_batch_that_cannot_be(text: str) -> None:
    with pytest.raises(Failed) as failed:
        batch_size(text, 3)
    assert failed.value.code == 2


def test_batches_leave_nobody_out() -> None:
    assert list(batches(["a", "b", "c", "d", "e"], 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(batches([], 2)) == []
