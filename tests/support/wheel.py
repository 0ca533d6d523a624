"""Wheels that are made without pip."""

import zipfile
from pathlib import Path


def make_wheel(folder: Path, version: str, name: str = "shop", needs: str = "") -> Path:
    """Make a wheel that installs a program of its name, which prints its version.

    Args:
        folder: where it goes.
        version: of the package.
        name: of the package.
        needs: another package that it depends on.
    """
    path = folder / f"{name}-{version}-py3-none-any.whl"
    information = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": f"def main():\n    print({version!r})\n",
        f"{information}/METADATA": metadata + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(f"{inner},,\n" for inner in [*files, f"{information}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for inner, content in (files | {f"{information}/RECORD": record}).items():
            archive.writestr(zipfile.ZipInfo(inner), content)
    return path
