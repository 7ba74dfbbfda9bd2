"""The object stores themselves: the hub's own, and that of each provider, opened when needed."""

from __future__ import annotations

import logging
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies

from pydantic import SecretStr

from nablahub.core.database import Database
from nablahub.core.guard import Guard
from nablahub.core.objects import DirectoryStore
from nablahub.core.outbound import check_address
from nablahub.core.s3 import S3Store
from nablahub.core.s3_check import Checked, check_store
from nablahub.core.settings import Settings
from nablahub.core.storesettings import StoreConfig
from nablahub.core.vault import Vault
from nablahub.storage.errors import NoSuchProvider, StoreKeysMissing
from nablahub.storage.store import StorageProviderRow

log = logging.getLogger(__name__)

Store = DirectoryStore | S3Store
#: Fields that are the same in a row and in the configuration of its store.
SAME = ("endpoint", "public_endpoint", "region", "path_style", "direct")


class Stores:
    """Opens stores.

    Parameters
    ----------
    settings : Settings
        Which one is the hub's own.
    database : Database
        Where providers stand.
    vault : Vault
        What opens their secrets.

    Raises
    ------
    StoreKeysMissing
        When the keys to the hub's own store are nowhere.
    """

    def __init__(self, settings: Settings, database: Database, vault: Vault) -> None:
        self._settings, self._database, self._vault = settings, database, vault
        own = settings.object_store
        try:
            self.own: StoreConfig | None = own.config() if own.url else None
        except ValueError as error:
            raise StoreKeysMissing(
                str(error), hint="The page of settings tells where they are looked for."
            ) from error
        self._open: dict[str, tuple[int, S3Store]] = {}
        self._guard = Guard()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop the guard."""
        self._guard.close()

    def team_store(self, team_id: str) -> Store:
        """Return a team's part of the hub's own store."""
        if self.own is None:
            return DirectoryStore(self._settings.state.objects / team_id)
        return self._cached(team_id, 0, self.own, team_id)

    def provider_store(self, provider_id: str) -> S3Store:
        """Return the store of a provider; must not be called in a write transaction's thread.

        Raises
        ------
        NoSuchProvider, SecretLost, BadAddress
        """
        row = self._database.read_sync(lambda s: s.get(StorageProviderRow, provider_id))
        if row is None:
            raise NoSuchProvider(provider_id)
        with self._lock:
            known = self._open.get(provider_id)
        if known is not None and known[0] == row.revision:
            return known[1]
        return self._cached(row.id, row.revision, self.config(row), row.team_id, self._proxy())

    def folder_store(self, provider_id: str, folder: str) -> S3Store:
        """Return the store of a folder below a provider's, for whoever reads what else lies there.

        Raises
        ------
        NoSuchProvider, SecretLost
        """
        row = self._database.read_sync(lambda s: s.get(StorageProviderRow, provider_id))
        if row is None:
            raise NoSuchProvider(provider_id)
        return S3Store(self.config(row), folder, self._proxy())

    def is_guarded(self) -> bool:
        """Whether a provider's store may be at public addresses only."""
        return bool(self._proxy())

    def is_direct(self, provider_id: str | None) -> bool:
        """Whether clients reach a store, None: the hub's own, by signed URLs."""
        if provider_id is None:
            return self.own is not None and self.own.direct
        row = self._database.read_sync(lambda s: s.get(StorageProviderRow, provider_id))
        return row is not None and row.direct

    def _cached(
        self, key: str, revision: int, config: StoreConfig, team_id: str, proxy: str = ""
    ) -> S3Store:
        with self._lock:
            known = self._open.get(key)
            if known is None or known[0] != revision:
                known = self._open[key] = (revision, S3Store(config, team_id, proxy))
            return known[1]

    def config(self, row: StorageProviderRow) -> StoreConfig:
        """Return the place of a provider, and the keys to it."""
        return StoreConfig(
            url=row.url,
            access_key=SecretStr(row.access_key),
            secret_key=SecretStr(self._vault.decrypt(row.secret)),
            **{name: getattr(row, name) for name in SAME},
        )

    def _proxy(self) -> str:
        """Return what keeps connections for users away from private addresses, if anything."""
        # A proxy of the machine's own decides by itself what may be reached.
        if self._settings.allow_private_addresses or getproxies().keys() & {"http", "https"}:
            return ""
        return self._guard.url

    def try_out(self, config: StoreConfig, team_id: str) -> Checked:
        """Try a store out as far as the rules let us; see :func:`check_store`."""
        if config.endpoint:  # Said in a better sentence than the guard has, and with the field.
            allowed = self._settings.allow_private_addresses
            check_address(config.endpoint, pointer="/endpoint", allow_private=allowed)
        root = f"{config.prefix}/{team_id}".lstrip("/")
        return check_store(config, root, self._origin, self._proxy())

    @property
    def _origin(self) -> str:
        parts = urlsplit(self._settings.public_url)
        return f"{parts.scheme}://{parts.netloc}"

    def try_own(self) -> None:
        """Try the hub's own store out and set its CORS up; what is wrong stands in the log."""
        if (config := self.own) is None:
            return
        checked = check_store(config, config.prefix or "check", self._origin)
        if checked.problem is not None:
            why = checked.problem
            log.error("The hub's object store %s: %s %s", config.url, why.sentence, why.hint)
        elif not checked.cors and config.direct:
            log.warning("Allow GET and PUT from %s by CORS at %s", self._origin, config.url)
