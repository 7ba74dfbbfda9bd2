"""Wire types of workspaces."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from nablahub.core.wire import Resource

MIB: Final = 1 << 20
#: Bytes of a workspace's files; what is larger is data, and belongs into a dataset.
LARGEST: Final = 512 * MIB
#: Files and folders.
MOST: Final = 100_000
#: Bytes of its archive before that is compressed: each member has a header, and is padded.
LONGEST: Final = LARGEST + MOST * 4096

Digest = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of its tar archive, uncompressed")
]


class Workspace(Resource):
    """A folder that was packed for jobs."""

    digest: Digest
    size: int = Field(description="Bytes of its compressed archive")
