"""The kubernetes runner keeps the contract."""

from tests.contract.suite import *  # noqa: F403
