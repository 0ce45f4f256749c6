"""What the tests of maintenance start from."""

from tests.extract.conftest import halo, harness, running

__all__ = ["halo", "harness", "running"]
