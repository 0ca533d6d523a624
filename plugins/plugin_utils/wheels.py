"""Wheels of projects on the controller, kept while their sources are the same."""

import base64
import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

# Made by tools, not part of what is built; at the top of a project or anywhere in it.
IGNORED_AT_TOP = {"build", "dist", "venv"}
IGNORED = {".git", ".hg", ".svn", ".venv", ".tox", ".nox", ".eggs", ".cache", ".run"}
IGNORED |= {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", "node_modules"}
# By these variables build backends are told of a version.
TELLING = ("SETUPTOOLS_", "HATCH_", "PDM_", "PBR_")
KEPT = 50


class BuildError(Exception):
    """What pip says of a project that it cannot build."""


def split_extras(source: str) -> tuple[str, str]:
    """Split ``path[extra,...]`` into path and extras, with their brackets."""
    found = re.fullmatch(r"(.*?)(\[.*\])?", source, re.DOTALL)
    assert found
    return found[1], found[2] or ""


def git(folder: Path, *arguments: str) -> bytes:
    """What git says of the work tree that a folder is in; nothing where it is in none."""
    # Those that git sets for its hooks name another repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=environment,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return b""
    return done.stdout if done.returncode == 0 else b""


def fingerprint(source: Path) -> str:
    """Name all that a wheel is made of.

    That is the contents of its folder, this Python, and, for versions that come from git and files
    outside of the folder, the commit and what differs from it in the whole work tree.

    Args:
        source: a folder, or an archive such as a sdist.

    Returns:
        A hash, hexadecimal.

    Raises:
        OSError: a part of it cannot be read.
    """
    found = hashlib.sha256()

    def add(*parts: str | bytes) -> None:
        for part in parts:
            data = part if isinstance(part, bytes) else part.encode(errors="surrogateescape")
            found.update(len(data).to_bytes(8, "big") + data)

    def add_file(path: Path, name: str) -> None:
        if path.is_file():
            executable = stat.S_IMODE(path.stat().st_mode) & 0o111
            add("file", name, str(executable), path.read_bytes())

    def refuse(error: OSError) -> None:
        raise error

    add(f"{sys.implementation.cache_tag} {sysconfig.get_platform()}")
    add(*(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(TELLING)))
    if not source.is_dir():
        source.stat()
        add_file(source, source.name)
        return found.hexdigest()
    for path, folders, files in os.walk(source, onerror=refuse):
        folder = Path(path)
        ignored = IGNORED | IGNORED_AT_TOP if folder == source else IGNORED
        folders[:] = sorted(
            f for f in folders if f not in ignored and not f.endswith((".egg-info", ".dist-info"))
        )
        for name in folders:
            link = folder / name
            if link.is_symlink():
                add("link", str(link.relative_to(source)), str(link.readlink()))
        for name in sorted(files):
            add_file(folder / name, str((folder / name).relative_to(source)))
    add("git", git(source, "describe", "--tags", "--always", "--long"))
    add(git(source, "diff", "HEAD", "--full-index", "--no-ext-diff", "--no-textconv"))
    return found.hexdigest()


def is_plain(source: Path) -> bool:
    """Tell whether a folder has modules and a requirements.txt, and nothing that pip can build."""
    there = [
        (source / name).is_file() for name in ("requirements.txt", "pyproject.toml", "setup.py")
    ]
    return there == [True, False, False]


def pack(source: Path, folder: Path) -> Path:
    """Make a wheel that installs the files of a folder as they are.

    Its name is the folder's, its version 0, and it needs nothing: requirements.txt is not its
    metadata, and stays here, as it may have an index's password. The format:
    https://packaging.python.org/specifications/binary-distribution-format/.

    Args:
        source: the folder.
        folder: where the wheel goes.

    Raises:
        OSError: a file cannot be read.
    """
    name = re.sub("[^A-Za-z0-9]+", "_", source.resolve().name).strip("_").lower() or "app"
    information = f"{name}-0.dist-info"
    files: dict[str, bytes] = {}
    for path, folders, names in os.walk(source):
        ignored = IGNORED | IGNORED_AT_TOP if Path(path) == source else IGNORED
        folders[:] = [f for f in folders if f not in ignored]
        files |= {
            (Path(path) / n).relative_to(source).as_posix(): (Path(path) / n).read_bytes()
            for n in names
        }
    del files["requirements.txt"]
    files |= {
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n".encode(),
        f"{information}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tornado_app\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{name},{_hash(data)},{len(data)}" for name, data in sorted(files.items())]
    record.append(f"{information}/RECORD,,\n")
    files[f"{information}/RECORD"] = "\n".join(record).encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for inner, data in files.items():
            # The same files make the same wheel, byte for byte.
            archive.writestr(zipfile.ZipInfo(inner), data, zipfile.ZIP_DEFLATED)
    return wheel


def _hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.decode().rstrip('=')}"


def build(source: str, base: Path, folder: Path) -> Path:
    """Have pip build a wheel, or pack the files of a folder that pip cannot build.

    Args:
        source: the project, without extras.
        base: what `source` is relative to.
        folder: where the wheel goes.

    Returns:
        The wheel.

    Raises:
        BuildError: pip refuses it.
    """
    if is_plain(base / source):
        return pack(base / source, folder)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--no-input"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", "--wheel-dir", str(folder), source],
        cwd=base,
        # The same sources make the same wheel, byte for byte (reproducible-builds.org).
        env=os.environ | {"SOURCE_DATE_EPOCH": "315532800"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    built = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not built:
        raise BuildError(done.stderr.rstrip() or done.stdout.rstrip())
    return built[0]


def stored(entry: Path) -> Path | None:
    """The wheel of an entry of the cache, which counts as used now."""
    for wheel in entry.glob("*.whl"):
        os.utime(entry)
        return wheel
    return None


def cache_folder() -> Path:
    """Where what is built is kept, by the XDG base directory specification."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "tornado_drain")


def forget_oldest(cache: Path) -> None:
    """Leave the entries that were used last, and what is being built."""
    folders = [path for path in cache.iterdir() if path.is_dir()]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)


def cached(source: str, base: Path, cache: Path) -> Path:
    """The wheel of a project, from the cache or built into it.

    Args:
        source: the project, without extras.
        base: what `source` is relative to.
        cache: the folder of the cache.

    Raises:
        BuildError: pip refuses it.
        OSError: the sources cannot be read, or the cache not used.
    """
    entry = cache / fingerprint(base / source)
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = stored(entry)
    if found:
        return found
    # Ansible asks for each host in a process of its own; the first one builds.
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = stored(entry)
        if found:
            return found
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            wheel = build(source, base, Path(folder, "wheel"))
            Path(folder, "wheel").replace(entry)
        forget_oldest(cache)
        return entry / wheel.name


def wheel_of(source: str, base: Path, spare: Path) -> Path:
    """The wheel of a project, built where its sources have changed since the last time.

    Args:
        source: the project, without extras, or a wheel.
        base: what `source` is relative to.
        spare: an empty folder, where the wheel is built if the cache cannot be used.

    Returns:
        The wheel's path; it is not the caller's to change.

    Raises:
        BuildError: pip refuses it.
    """
    path = base / source
    if path.suffix == ".whl" and path.is_file():
        return path
    try:
        return cached(source, base, cache_folder() / "wheels")
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return build(source, base, spare)
