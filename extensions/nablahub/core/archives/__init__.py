"""Archives: the one place that unpacks what somebody else packed."""

from nablahub.core.archives.laying import BadArchive, Rules
from nablahub.core.archives.unpacking import unpack, unpack_tar

__all__ = ["BadArchive", "Rules", "unpack", "unpack_tar"]
