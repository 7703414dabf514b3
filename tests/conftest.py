"""Fixtures for every kind of test."""

from collections.abc import Iterator

import pytest

from tests.support import postgres


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.Cluster]:
    """A real PostgreSQL, one for all tests of this process."""
    with postgres.cluster() as running:
        yield running


@pytest.fixture
def postgres_database(postgres_cluster: postgres.Cluster) -> str:
    """The name of an empty database of its own."""
    return postgres_cluster.new_database()
