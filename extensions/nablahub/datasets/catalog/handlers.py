"""Operations on the catalog."""

from __future__ import annotations

from nablahub.core.operations import Call, StreamCall, operation, stream
from nablahub.datasets.catalog.service import Catalog, as_wire
from nablahub.datasets.catalog.types import CatalogAdd, CatalogEntry, CatalogList
from nablahub.datasets.service import DatasetService
from nablahub.datasets.shapes import version_wire
from nablahub.datasets.store import VersionRow
from nablahub.datasets.threads import blocking
from nablahub.datasets.types import DatasetVersion


@operation("GET", "/dataset-catalog", scope="datasets:read")
def list_catalog(call: Call) -> CatalogList:
    """List the public datasets that may be added, with licence and source."""
    offer = _catalog(call).live.now()
    items = [as_wire(name, entry) for name, entry in offer.entries.items()]
    warning = offer.problem.story if offer.problem is not None and call.who.admin else None
    return CatalogList(items=items, warning=warning)


@operation("GET", "/dataset-catalog/{name}", scope="datasets:read")
def get_catalog_entry(call: Call) -> CatalogEntry:
    """Get one public dataset of the catalog."""
    name = call.path["name"]
    return as_wire(name, _catalog(call).live.now().entry(name))


@stream(
    "POST", "/dataset-catalog/{name}", scope="datasets:write", status=201, query=CatalogAdd,
    consumes="application/json",
)  # fmt: skip
async def add_from_catalog(call: StreamCall) -> DatasetVersion:
    """Make a dataset of a public one: its files are fetched and their checksums proved.

    Sent again it answers with the same version, and fetches nothing.
    """
    catalog, who, name = _catalog(call), call.who, call.path["name"]
    asked: CatalogAdd = call.query
    dataset = await call.db_write(lambda s: catalog.begin(s, who, name, asked))
    made = await blocking(catalog.materialise, dataset, who, name)
    return version_wire(dataset, await call.db_read(lambda s: s.get_one(VersionRow, made)))


def _catalog(call: Call | StreamCall) -> Catalog:
    return Catalog(call.get(DatasetService))
