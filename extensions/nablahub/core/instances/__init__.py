"""Instance types: what a server or job of a name gets, and what this machine can give."""

from nablahub.core.instances.live import LiveCatalogue, Offer
from nablahub.core.instances.machine import GIB, Gpu, Machine
from nablahub.core.instances.reading import CATALOGUE, BadInstanceTypes, parse, read_text
from nablahub.core.instances.types import (
    DEFAULT_INSTANCE,
    InstanceType,
    Toleration,
    duration,
    suggestion,
)

__all__ = [
    "CATALOGUE",
    "DEFAULT_INSTANCE",
    "GIB",
    "BadInstanceTypes",
    "Gpu",
    "InstanceType",
    "LiveCatalogue",
    "Machine",
    "Offer",
    "Toleration",
    "duration",
    "parse",
    "read_text",
    "suggestion",
]
