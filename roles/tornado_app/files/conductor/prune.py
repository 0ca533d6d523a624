"""What nothing needs any more is deleted from a home."""

import contextlib
import shutil
from pathlib import Path

from conductor import proc
from conductor.home import Home, link, linked

# What versions before had: 1.0 what is in `conductors` now, 1.1 the wheels of local sources.
FORMER = ("rolling_restart.py", "supervisord.py", "wheels")


def prune(home: Home, keep: int) -> None:
    """Delete what nothing needs any more.

    Args:
        home: of the app.
        keep: how many configurations are kept; the current one and the one before are among them.
    """
    for path in unneeded(home, keep):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    previous = linked(home.previous)
    if previous and not previous.exists():
        link(home.previous, None)


def unneeded(home: Home, keep: int) -> list[Path]:
    """Find the configurations but for the newest, and whatever none of the kept ones names.

    Args:
        home: of the app.
        keep: as `prune` takes it.
    """
    former = [path for name in FORMER if (path := home.path / name).exists()]
    return sorted([*_configurations(home, keep), *_conductors(home), *former])


def _configurations(home: Home, keep: int) -> set[Path]:
    by_age = sorted(
        home.path.glob("configurations/*.conf"), key=lambda p: p.stat().st_mtime, reverse=True
    )
    links = [linked(home.current), linked(home.previous)]
    kept = sorted(by_age, key=lambda path: links.index(path) if path in links else 2)[:keep]
    named = "".join(path.read_text(encoding="utf-8") for path in kept)
    unused = set(by_age) - set(kept)
    for kind in ("releases", "environments"):
        unused |= {p for p in home.path.glob(f"{kind}/*") if f"/{kind}/{p.name}" not in named}
    return unused


def _conductors(home: Home) -> set[Path]:
    """But for the one that is linked and those that run (ctl puts its folder on PYTHONPATH)."""
    used = {home.conductor.resolve()}
    for pid in proc.all_pids():
        with contextlib.suppress(OSError):
            used.add(Path(proc.environment(pid).get("PYTHONPATH", "")).resolve())
    return {path for path in home.path.glob("conductors/*") if path.resolve() not in used}
