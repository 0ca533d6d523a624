"""A signal may come at any moment, amid a line of the log too."""

import os
import subprocess
import sys
from pathlib import Path

import tornado_drain

from tests.support.paths import PROGRAMS
from tests.support.user import unprivileged


def test_a_thousand_signals_amid_heavy_logging() -> None:
    # Without a buffer there is none that a signal could find half written.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    env["PYTHONPATH"] = str(Path(tornado_drain.__file__).parent.parent)
    command = [*unprivileged(), sys.executable, str(PROGRAMS / "sigterms.py"), "1000"]
    trials = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True)
    assert trials.returncode == 0, trials.stderr
    assert trials.stdout == "1000 trials, 0 workers failed\n"
