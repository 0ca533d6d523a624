"""The stack that the fault tests of one file share."""

from collections.abc import Iterator

import pytest

from tests.support.stack import Stack


@pytest.fixture(scope="module", params=["port", "unix"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack on each listener, as the file's ``BASE_PORT`` and ``VARIABLES`` say."""
    name = request.module.__name__.rpartition("test_")[2].replace("_", "-")
    variables = getattr(request.module, "VARIABLES", {}) | {"tornado_app_listener": request.param}
    stack = Stack(f"{name}-{request.param}", request.module.BASE_PORT, **variables)
    with stack.deployed():
        yield stack
