"""Rules of storage providers, and the object store that each stands for."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, runtime_checkable

from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core import kubenames
from nablahub.core.context import Context
from nablahub.core.database import after_commit
from nablahub.core.errors import Forbidden, Invalid
from nablahub.core.events import Event
from nablahub.core.ids import SHAPES, new_id
from nablahub.core.paging import page
from nablahub.core.permissions import Principal
from nablahub.core.s3 import S3Store
from nablahub.core.s3_check import Checked
from nablahub.core.storesettings import StoreConfig
from nablahub.core.times import now
from nablahub.core.usage import FolderUsage
from nablahub.core.vault import KeepsSecrets, Vault
from nablahub.storage.errors import (
    NoSuchProvider,
    OtherStore,
    ProviderFails,
    ProviderInUse,
    ProviderNameTaken,
)
from nablahub.storage.mounting.errors import HoldsDatasets
from nablahub.storage.mounting.refs import BucketFolder
from nablahub.storage.store import StorageProviderRow, of_teams
from nablahub.storage.stores import SAME, Store, Stores
from nablahub.storage.types import (
    PLACE,
    StorageCheck,
    StorageProvider,
    StorageProviderCreate,
    StorageProviderPatch,
    StorageProviderQuery,
)
from nablahub.storage.usage import reports
from nablahub.storage.usage.scanner import Scanner
from nablahub.storage.usage.types import DiskUsage, UsageReport, disk_usage
from nablahub.teams.service import TeamService
from nablahub.teams.store import among

__all__ = ["PROVIDER", "StorageService", "Store", "UsesStorage", "as_wire"]

#: What ids of providers begin with.
PROVIDER: Final = SHAPES["storage_provider"][0]


@runtime_checkable
class UsesStorage(Protocol):
    """A service whose things may lie in a storage provider."""

    def provider_holds(self, session: Session, provider_id: str | None) -> str | None:
        """Return what lies there, such as ``"2 datasets"``, or None.

        Parameters
        ----------
        provider_id : str or None
            None: the hub's own store.
        """


class StorageService:
    """Where data lies: the hub's own store, and the providers of teams."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.settings
        self.vault = Vault(context.settings.state.encryption_keys)
        self._stores = Stores(context.settings, context.database, self.vault)
        self.scanner = Scanner(context.settings)
        self._trying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Refuse to start with another store than the one that the data lies in.

        Raises
        ------
        OtherStore
            Before anything is looked for where it is not.
        """
        file, named = self._settings.state.object_store, self._settings.object_store.url
        here = file.read_text().strip() if file.exists() else ""
        if here != named:
            holds = await self._context.database.read(lambda s: self._held(s, None))
            if holds is not None:
                raise OtherStore(holds, here, named)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{named}\n")
        self._trying = asyncio.create_task(asyncio.to_thread(self._stores.try_own))
        if self._settings.runner == "process":  # A cluster's claims have sizes of their own.
            self.scanner.start()

    async def stop(self) -> None:
        """Wait for the last look at the hub's own store, and close all."""
        if self._trying is not None:
            await asyncio.gather(self._trying, return_exceptions=True)
        await asyncio.to_thread(self.scanner.stop)
        self._stores.close()

    def usage_of(self, team_id: str) -> FolderUsage:
        """Return what a team's `/storage` takes of this machine's disk, as it was last measured."""
        return self.scanner.of_team(team_id)

    def usage(self, session: Session, who: Principal) -> list[DiskUsage]:
        """Return what is in `/storage` of the caller's teams and in their own home."""
        rows = sorted(session.scalars(among(who.team_ids)).all(), key=lambda row: row.name)
        if self._settings.runner != "process":
            teams = {row.id: row.name for row in rows}
            return reports.told(session, teams, who.name if who.kind == "user" else None)
        found = [
            disk_usage("storage", row.name, self.scanner.of_team(row.id), row.id) for row in rows
        ]
        if who.kind == "user":
            home = self.scanner.of_home(kubenames.folder(who.name))
            found.append(disk_usage("home", who.name, home))
        return found

    def keep_usage(self, session: Session, who: Principal, said: UsageReport) -> None:
        """Keep what a server of the caller's found in a claim; Forbidden: it has no home.

        Where the service measures by itself, that is what is shown.
        """
        if said.kind == "storage":
            owner = self._context.get(TeamService).pick(session, who, said.team)
        elif who.kind == "user":
            owner = who.name
        else:
            raise Forbidden("Only a user has a home.")
        reports.keep(session, owner, said)

    # The stores themselves.

    def team_store(self, team_id: str) -> Store:
        """Return a team's part of the hub's own store."""
        return self._stores.team_store(team_id)

    def provider_store(self, provider_id: str) -> S3Store:
        """Return the store of a provider; NoSuchProvider when it is gone."""
        return self._stores.provider_store(provider_id)

    def is_direct(self, provider_id: str | None) -> bool:
        """Whether clients reach a store, None: the hub's own, by signed URLs."""
        return self._stores.is_direct(provider_id)

    def folder_store(self, provider_id: str, prefix: str) -> S3Store:
        """Return the store of a folder below a provider's; NoSuchProvider when it is gone."""
        return self._stores.folder_store(provider_id, prefix)

    def is_guarded(self) -> bool:
        """Whether providers may be at public addresses only."""
        return self._stores.is_guarded()

    def folder(
        self, session: Session, who: Principal, ref: str, *, read_only: bool
    ) -> BucketFolder:
        """Return the folder that ``<provider>/<folder>`` means, with the id of the provider.

        Raises
        ------
        NoSuchProvider
        HoldsDatasets
            It shall be written to, and datasets lie in it.
        """
        asked = BucketFolder.parse(ref)
        row = self.row(session, who, asked.storage)
        own = f"{row.team_id}/"
        covers = own.startswith(f"{asked.prefix}/".lstrip("/")) or f"{asked.prefix}/".startswith(
            own
        )
        if not read_only and covers and (holds := self._held(session, row.id)) is not None:
            raise HoldsDatasets(
                f"{holds[0].upper()}{holds[1:]} lie in '{asked}', and only the hub writes there.",
                hint="Mount it read-only, or another folder of it.",
            )
        return BucketFolder(row.id, asked.prefix)

    # Trying out; both talk to the store and belong before a transaction.

    def check_new(self, who: Principal, asked: StorageProviderCreate) -> bool:
        """Try out what is to be made and return whether CORS is set up.

        Raises
        ------
        ProviderFails
            In a sentence that says why, and which field is wrong.
        """
        read = self._context.database.read_sync
        team_id = read(lambda s: self._context.get(TeamService).pick(s, who, asked.team))
        config = StoreConfig(
            url=_url(asked.bucket, asked.prefix), access_key=SecretStr(asked.access_key),
            secret_key=asked.secret_key, **{name: getattr(asked, name) for name in SAME},
        )  # fmt: skip
        return self._passed(self._stores.try_out(config, team_id))

    def check_change(self, row: StorageProviderRow, asked: StorageProviderPatch) -> bool | None:
        """Try out a changed provider; None when nothing of the connection changes."""
        given = asked.model_dump(exclude_none=True)
        if not set(given) - {"name", "direct", "public_endpoint"}:
            return None
        config = self._stores.config(row)
        bucket, prefix = given.pop("bucket", config.bucket), given.pop("prefix", config.prefix)
        given.pop("name", None)
        changed = {**dict(config), **given, "url": _url(bucket, prefix)}
        return self._passed(self._stores.try_out(StoreConfig.model_validate(changed), row.team_id))

    def _passed(self, checked: Checked) -> bool:
        if checked.problem is not None:
            raise ProviderFails(checked.problem)
        return checked.cors

    def check(self, row: StorageProviderRow) -> StorageCheck:
        """Try a provider out as it is."""
        found = self._stores.try_out(self._stores.config(row), row.team_id)
        why = found.problem
        return StorageCheck(
            ok=why is None, problem=why.sentence if why else "", hint=why.hint if why else "",
            cors=found.cors,
        )  # fmt: skip

    # Providers.

    def create(
        self, session: Session, who: Principal, asked: StorageProviderCreate, *, cors: bool
    ) -> StorageProvider:
        """Make a provider that was tried out; ProviderNameTaken when the team has one of it."""
        if who.kind != "user":
            raise Forbidden(
                "Only people make storage providers, not runs.", hint="Make it yourself."
            )
        team_id = self._context.get(TeamService).pick(session, who, asked.team)
        self._check_free(session, team_id, asked.name)
        at = now()
        row = StorageProviderRow(
            id=new_id("storage_provider"), team_id=team_id, name=asked.name,
            url=_url(asked.bucket, asked.prefix), cors=cors, access_key=asked.access_key,
            secret=self.vault.encrypt(asked.secret_key.get_secret_value()), created_by=who.name,
            created_at=at, updated_at=at, revision=1,
            **{name: getattr(asked, name) for name in SAME},
        )  # fmt: skip
        session.add(row)
        self._tell(session, row, "created")
        return as_wire(row)

    def row(self, session: Session, who: Principal, ref: str) -> StorageProviderRow:
        """Return the provider meant by an id or a name; NoSuchProvider if they have none such."""
        found = session.get(StorageProviderRow, ref)
        if found is not None and found.team_id in who.team_ids:
            return found
        rows = session.scalars(of_teams(who.team_ids, ref)).all()
        if not rows:
            raise NoSuchProvider(ref)
        if len(rows) > 1:
            ids = ", ".join(sorted(row.id for row in rows))
            raise Invalid(
                f"Several of your teams have a storage provider called '{ref}'.",
                hint=f"Use the id of the one you mean: {ids}.",
            )
        return rows[0]

    def list(
        self, session: Session, who: Principal, asked: StorageProviderQuery
    ) -> tuple[list[StorageProvider], str | None]:
        """Return a page of the caller's providers."""
        columns = {
            "created_at": StorageProviderRow.created_at,
            "updated_at": StorageProviderRow.updated_at, "name": StorageProviderRow.name,
        }  # fmt: skip
        query = of_teams(who.team_ids, asked.name)
        rows, following = page(session, query, asked, columns=columns, key=StorageProviderRow.id)
        return [as_wire(row) for row in rows], following

    def change(
        self,
        session: Session,
        row: StorageProviderRow,
        asked: StorageProviderPatch,
        *,
        cors: bool | None,
    ) -> StorageProvider:
        """Change a provider; ProviderInUse when its data would be elsewhere then."""
        given = asked.model_dump(exclude_none=True)
        place = _config_place(row)
        bucket, prefix = given.pop("bucket", place[0]), given.pop("prefix", place[1])
        if (bucket, prefix) != place:
            self._check_unused(session, row, "moved to another bucket")
            row.url = _url(bucket, prefix)
        if (name := given.pop("name", row.name)) != row.name:
            self._check_free(session, row.team_id, name)
            row.name = name
        if (secret := given.pop("secret_key", None)) is not None:
            row.secret = self.vault.encrypt(secret.get_secret_value())
        for field, value in given.items():
            setattr(row, field, value)
        row.cors = row.cors if cors is None else cors
        row.updated_at = now()
        row.revision += 1
        self._tell(session, row, "changed")
        return as_wire(row)

    def delete(self, session: Session, row: StorageProviderRow) -> None:
        """Delete a provider that nothing lies in; the bucket stays as it is."""
        self._check_unused(session, row, "deleted")
        self._tell(session, row, "deleted")
        session.delete(row)

    def _check_unused(self, session: Session, row: StorageProviderRow, what: str) -> None:
        holds = self._held(session, row.id)
        if holds is not None:
            raise ProviderInUse(row.name, holds, what)

    def _held(self, session: Session, provider_id: str | None) -> str | None:
        found = (
            service.provider_holds(session, provider_id)
            for service in self._context.services
            if isinstance(service, UsesStorage)
        )
        return next((holds for holds in found if holds is not None), None)

    def _check_free(self, session: Session, team_id: str, name: str) -> None:
        if session.scalars(of_teams([team_id], name)).first() is not None:
            raise ProviderNameTaken(name)

    def rotate_secrets(self, session: Session, vault: Vault) -> int:
        """Encrypt every secret key with the newest key; see :class:`KeepsSecrets`."""
        rows = session.scalars(select(StorageProviderRow)).all()
        for row in rows:
            row.secret = vault.rotate(row.secret)
        return len(rows)

    def rotate_all(self, session: Session) -> int:
        """Encrypt all secrets of the hub with a new key; the older keys go after the commit."""
        self.vault.add_key()
        count = sum(
            service.rotate_secrets(session, self.vault)
            for service in self._context.services
            if isinstance(service, KeepsSecrets)
        )
        after_commit(session, self.vault.drop_old_keys)
        return count

    def _tell(self, session: Session, row: StorageProviderRow, type_: str) -> None:
        event = Event("storage_provider", row.id, type_, row.team_id, None, {"name": row.name})
        self._context.events.emit(session, event)


def _url(bucket: str, prefix: str) -> str:
    return f"s3://{bucket}/{prefix}".rstrip("/")


def _config_place(row: StorageProviderRow) -> tuple[str, str]:
    bucket, _, prefix = row.url.removeprefix("s3://").partition("/")
    return bucket, prefix


def as_wire(row: StorageProviderRow) -> StorageProvider:
    """Return the row as clients see it, without its secret."""
    bucket, prefix = _config_place(row)
    fields = {
        name: getattr(row, name)
        for name in StorageProvider.model_fields
        if name not in ("type", *PLACE)
    }
    return StorageProvider(**fields, bucket=bucket, prefix=prefix)
