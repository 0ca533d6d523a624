"""Where things are in this checkout."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/tornado_app"
PROGRAMS = ROOT / "tests/support/programs"

# Of the tools, those of requirements*.txt.
BIN = Path(sys.executable).parent
