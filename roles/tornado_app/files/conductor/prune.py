"""What nothing needs any more is deleted from a home."""

import contextlib
import shutil
from pathlib import Path

from conductor import proc
from conductor.home import Home, link, linked

# What versions before had: 1.0 what is in `conductors` now, 1.1 the wheels of local sources.
FORMER_FILES = ("rolling_restart.py", "supervisord.py")
FORMER_FOLDER = "wheels"


def prune(home: Home, keep: int) -> None:
    """Delete configurations but the newest, and whatever none of the kept ones names.

    Args:
        home: of the app.
        keep: how many configurations are kept; the current one and the one before are among them.
    """
    _prune_configurations(home, keep)
    _prune_conductors(home)
    for name in FORMER_FILES:
        (home.path / name).unlink(missing_ok=True)
    shutil.rmtree(home.path / FORMER_FOLDER, ignore_errors=True)


def _prune_configurations(home: Home, keep: int) -> None:
    by_age = sorted(
        home.path.glob("configurations/*.conf"), key=lambda p: p.stat().st_mtime, reverse=True
    )
    links = [linked(home.current), linked(home.previous)]
    kept = sorted(by_age, key=lambda path: links.index(path) if path in links else 2)[:keep]
    named = "".join(path.read_text(encoding="utf-8") for path in kept)
    unused = set(by_age) - set(kept)
    for kind in ("releases", "environments"):
        unused |= {p for p in home.path.glob(f"{kind}/*") if f"/{kind}/{p.name}" not in named}
    for path in unused:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if links[1] and not links[1].exists():
        link(home.previous, None)


def _prune_conductors(home: Home) -> None:
    """The one that is linked stays, and those that run (ctl puts its folder on PYTHONPATH)."""
    used = {home.conductor.resolve()}
    for pid in proc.all_pids():
        with contextlib.suppress(OSError):
            used.add(Path(proc.environment(pid).get("PYTHONPATH", "")).resolve())
    for path in home.path.glob("conductors/*"):
        if path.resolve() not in used:
            shutil.rmtree(path)
