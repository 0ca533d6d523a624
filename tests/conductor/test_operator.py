"""What an operator sees: status, errors, the journal."""

import subprocess
from pathlib import Path

from tests.support.home import MakeHome


def test_status_for_people_and_for_programs(make_home: MakeHome) -> None:
    home = make_home(processes=2)
    home.ctl("rollout", home.add("r1"))
    table = home.ctl("status").stdout.splitlines()
    assert table[0].split() == ["PORT", "PID", "STATE", "RELEASE", "UPTIME", "IN-FLIGHT"]
    assert table[1].split()[2:4] == ["serving", "r1"]
    assert len(table) == 3
    assert {"port", "pid", "state", "release", "uptime", "in_flight"} <= home.status()[0].keys()


def test_the_journal_does_not_grow_for_ever(make_home: MakeHome) -> None:
    home = make_home(processes=2)
    journal = home.path / "log/rolling_restart.jsonl"
    journal.write_text('{"event": "old"}\n' * 300_000)
    home.ctl("rollout", home.add("r1"))
    assert [event["event"] for event in home.events("old", "done")] == ["done"]
    old = journal.with_suffix(".jsonl.1")
    assert old.stat().st_size > 5_000_000
    journal.write_text('{"event": "older"}\n' * 300_000)
    home.ctl("restart")
    assert old.read_text().startswith('{"event": "older"}')


def test_errors_of_the_operator(make_home: MakeHome) -> None:
    home = make_home(processes=2)
    for command in ("status", "restart", "stop", "start"):
        assert "nothing is deployed yet" in home.ctl(command, code=1).stderr
    assert "nope.conf" in home.ctl("rollout", "nope", code=1).stderr
    assert home.ctl("bogus", code=2).stderr.startswith("usage: app-ctl ")
    home.ctl("rollout", home.add("r1"))
    assert "no configuration before" in home.ctl("rollback", code=1).stderr
    home.shut_down()
    assert "supervisord does not answer" in home.ctl("restart", code=1).stderr
    assert home.ctl("status", code=1).stdout.count("absent") == 2


def test_the_folder_of_the_operator_does_not_matter(make_home: MakeHome, tmp_path: Path) -> None:
    home = make_home(processes=2)
    for module in ("json.py", "conductor.py"):
        (tmp_path / module).write_text("raise SystemExit('not this one')")
    subprocess.run([home.program, "endpoints"], cwd=tmp_path, check=True)
