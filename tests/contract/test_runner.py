"""The process runner keeps the contract."""

from tests.contract.suite import *  # noqa: F403
from tests.contract.suite_leavings import *  # noqa: F403
