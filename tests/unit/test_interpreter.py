"""What a Python says of itself, and which wheels it takes."""

import sys

import pytest

from plugins.module_utils.interpreter import about, fits, title

HOST = {
    "implementation": "cpython",
    "version": "3.11",
    "machine": "linux-x86_64",
    "libc": "glibc 2.36",
}


def test_about() -> None:
    found = about(sys.executable)
    assert found["path"] == sys.executable
    assert found["version"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert fits(found, found)
    assert found["version"] in title(found)


@pytest.mark.parametrize("python", ["/bin/false", "/bin/echo", "/nowhere/python"])
def test_what_is_not_a_python(python: str) -> None:
    assert about(python) == {}


@pytest.mark.parametrize(
    ("differs", "fit"),
    [
        ({}, True),
        ({"libc": "glibc 2.9"}, True),
        ({"libc": "glibc 2.36.1"}, False),
        ({"libc": "glibc 2.100"}, False),
        ({"libc": ""}, False),
        ({"version": "3.12"}, False),
        ({"implementation": "pypy"}, False),
        ({"machine": "linux-aarch64"}, False),
    ],
)
def test_wheels_fit_the_same_python_with_a_libc_that_is_not_older(
    differs: dict[str, str], fit: bool
) -> None:
    assert fits(HOST | differs, HOST) is fit
    assert not fits({}, HOST)
