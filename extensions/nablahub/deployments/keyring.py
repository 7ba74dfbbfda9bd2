"""Rules of a deployment's API keys."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import NotFound
from nablahub.core.idempotency import owner
from nablahub.core.ids import new_id
from nablahub.core.paging import PageQuery, page
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.deployments import keys
from nablahub.deployments.controller import KEYS_KIND
from nablahub.deployments.store import DeploymentRow, KeyRow
from nablahub.deployments.store import keys as keys_of
from nablahub.deployments.types import Key, KeyCreate, NewKey


class Keyring:
    """API keys of one deployment; the file of their hashes follows each change."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(
        self,
        session: Session,
        who: Principal,
        deployment: DeploymentRow,
        asked: KeyCreate,
        request: str,
    ) -> NewKey:
        """Make a key and return it with its text, for the only time.

        Parameters
        ----------
        request : str
            The Idempotency-Key. Sent again, the same key gets a new text: the first one was
            never stored, so it can't be shown again, and whoever asks twice has not seen it.
        """
        digest = hashlib.sha256(f"{owner(who)}\0{request}".encode()).hexdigest()
        at = now()
        secret, prefix, sha256 = keys.make()
        query = select(KeyRow).filter_by(deployment_id=deployment.id, request=digest)
        row = session.scalars(query).first()
        if row is None:
            row = KeyRow(
                id=new_id("key"), deployment_id=deployment.id, name=asked.name, prefix=prefix,
                sha256=sha256, request=digest, created_by=who.name, created_at=at, expires_at=None,
            )  # fmt: skip
            session.add(row)
        row.prefix, row.sha256 = prefix, sha256
        if asked.expires_in is not None:
            row.expires_at = at + timedelta(seconds=asked.expires_in)
        session.flush()
        self._context.reconciler.wake(session, KEYS_KIND, deployment.id)
        return NewKey(**_as_wire(row).model_dump(), key=secret)

    def list(
        self, session: Session, deployment: DeploymentRow, asked: PageQuery
    ) -> tuple[list[Key], str | None]:
        """Return a page of the deployment's keys, without their texts."""
        columns = {"created_at": KeyRow.created_at, "name": KeyRow.name}
        rows, following = page(
            session, keys_of(deployment.id), asked, columns=columns, key=KeyRow.id
        )
        return [_as_wire(row) for row in rows], following

    def revoke(self, session: Session, deployment: DeploymentRow, key_id: str) -> None:
        """Revoke a key: within two seconds it opens nothing any more."""
        row = session.get(KeyRow, key_id)
        if row is None or row.deployment_id != deployment.id:
            raise NotFound(
                f"Key {key_id} was not found.",
                hint="`nablahub deployments keys list` shows the deployment's.",
            )
        session.delete(row)
        self._context.reconciler.wake(session, KEYS_KIND, deployment.id)


def _as_wire(row: KeyRow) -> Key:
    return Key.model_validate(row, from_attributes=True)
