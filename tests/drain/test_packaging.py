"""What `pip install` of the two wheels brings."""

import email
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SOURCES = {"tornado_drain": ROOT / "app", "demo_app": ROOT / "app/demo_app"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, zipfile.ZipFile]:
    """Each package's wheel."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    if importlib.util.find_spec("hatchling") is not None:
        command.append("--no-build-isolation")
    subprocess.run([*command, *map(str, SOURCES.values())], check=True)
    [drain] = folder.glob("tornado_drain-*.whl")
    [demo] = folder.glob("tornado_drain_demo-*.whl")
    return {"tornado_drain": zipfile.ZipFile(drain), "demo_app": zipfile.ZipFile(demo)}


@pytest.mark.parametrize("package", SOURCES)
def test_contents(wheels: dict[str, zipfile.ZipFile], package: str) -> None:
    names = {n for n in wheels[package].namelist() if ".dist-info/" not in n}
    folder = ROOT / "app" / package
    assert names == {
        str(Path(package) / path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "pyproject.toml"
    }
    for name in names:
        assert wheels[package].read(name) == (ROOT / "app" / name).read_bytes()


@pytest.mark.parametrize(
    ("package", "name", "needs"),
    [
        (
            "tornado_drain",
            "tornado-drain",
            ["tornado>=6.2", "prometheus-client>=0.20; extra == 'metrics'"],
        ),
        ("demo_app", "tornado-drain-demo", ["tornado-drain[metrics]"]),
    ],
)
def test_metadata(
    wheels: dict[str, zipfile.ZipFile], package: str, name: str, needs: list[str]
) -> None:
    [path] = [n for n in wheels[package].namelist() if n.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(wheels[package].read(path))
    assert (metadata["Name"], metadata["Version"]) == (name, "1.1.0")
    assert metadata.get_all("Requires-Dist") == needs
