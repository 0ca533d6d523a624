"""Settings that can't be are refused before anything on the host is touched."""

from tests.support.stack import Stack


def test_nothing_on_the_host_is_touched() -> None:
    stack = Stack("never", 9263)
    output = stack.playbook(code=2, tornado_app_max_wait="abc")
    assert "tornado_app_max_wait" in output
    assert "int" in output
    output = stack.playbook(code=2, tornado_app_max_wait=0, tornado_app_processes=0)
    assert "tornado_app_max_wait: got 0; expected a whole number, at least 1 (seconds)" in output
    assert "tornado_app_processes: got 0" in output
    assert not stack.home.exists()
