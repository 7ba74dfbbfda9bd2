"""An archive as the folder that is in it, for as long as it takes to send that."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nablahub.core.archives import Rules, unpack
from nablahub.core.errors import Invalid

#: The disk is the limit. A dataset keeps names apart that differ in case, as a folder does.
_RULES = Rules(size=1 << 50, case_twins=True)


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Unpack a zip or tar archive into a folder of its own, which goes afterwards.

    Raises
    ------
    nablahub.core.archives.BadArchive
        Naming the member that can't be unpacked.
    """
    if archive.is_dir():
        raise Invalid(
            f"{archive} is a folder, so there is nothing to unpack.",
            hint="Leave out --unpack (unpack=True in Python), or name the archive.",
        )
    with tempfile.TemporaryDirectory(prefix="nablahub-") as folder:
        tree = Path(folder, "tree")
        unpack(archive, tree, _RULES)
        yield tree
