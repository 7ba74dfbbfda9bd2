"""Where things lie in a team's object store; the only place that makes keys.

::

    files/md5/ab/cdef…               a large object, in DVC's own layout
    packs/<dataset>/<sha256>         small objects of one dataset
    manifests/<dataset>/<version>    the pages of a version and their list
    parts/<dataset>/<md5>            a large object that is still arriving
"""

from __future__ import annotations


def object_key(md5: str) -> str:
    """Return the key of a large object."""
    return f"files/md5/{md5[:2]}/{md5[2:]}"


def pack_key(dataset: str, pack: str) -> str:
    """Return the key of a pack, whose name :func:`nablahub.datasets.packs.pack_name` tells."""
    return f"packs/{dataset}/{pack}"


def manifest_key(dataset: str, version: str) -> str:
    """Return the key of a version's manifest; ``version`` is its 7 characters."""
    return f"manifests/{dataset}/{version}"


def dataset_prefixes(dataset: str) -> tuple[str, ...]:
    """Return the folders that go when a dataset goes."""
    return (f"packs/{dataset}", f"manifests/{dataset}", f"parts/{dataset}")


def cache_name(dataset: str, version: str) -> str:
    """Return the folder name of a materialised version, within its team's cache."""
    return f"{dataset}-{version}"
