"""The oldest Tornado that the drain supports, in a folder of its own.

``python -m tests.support.oldest_tornado`` installs it, as `make` does: no test needs the network.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

OLDEST = "6.2"


def oldest_tornado() -> Path:
    """Return the folder to import it from; it is beside the tools, installed where it is missing.

    Raises:
        subprocess.CalledProcessError: pip could not install it.
    """
    folder = Path(sys.prefix, f"tornado-{OLDEST}")
    if not (folder / "tornado").is_dir():
        # Into place in one step: another worker may do the same at this moment.
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", str(part), f"tornado=={OLDEST}"], check=True)
        with contextlib.suppress(OSError):
            part.rename(folder)
    return folder


if __name__ == "__main__":
    oldest_tornado()
