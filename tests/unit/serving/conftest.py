"""One server for each model, shared by the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.unit.serving import graphs
from tests.unit.serving.process import KEY, ModelServer, write_keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose keys file knows ``KEY``."""
    folder = tmp_path_factory.mktemp("keys")
    write_keys(folder, [KEY])
    return folder


@pytest.fixture(scope="session")
def iris_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of 4 features and 3 classes."""
    return graphs.classifier(tmp_path_factory.mktemp("iris") / "model.onnx")


@pytest.fixture(scope="session")
def iris(iris_file: Path, keys: Path) -> Iterator[ModelServer]:
    """The classifier, served as ``iris``, version ``abc1234``."""
    arguments = ["--name", "iris", "--model-version", "abc1234", "--max-body", "200000"]
    with ModelServer(iris_file, keys, arguments) as server:
        yield server.ready()


@pytest.fixture
def client(iris: ModelServer) -> Iterator[httpx.Client]:
    """A client of the classifier, with the key."""
    with iris.client() as client:
        yield client
