from contextlib import contextmanager

import pytest


@pytest.fixture
def full_disk():
    """Return what files may have no more than 100 bytes within, which is what a full disk is like; for a log of the tests, no longer."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def fill():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return fill
