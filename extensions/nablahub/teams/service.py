"""Rules of teams."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import Fault, NotFound
from nablahub.core.ids import new_id
from nablahub.core.paging import PageQuery, page
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.teams.store import TeamRow, among, by_names
from nablahub.teams.types import Team


class TeamService:
    """Teams as the hub knows them."""

    def __init__(self, context: Context) -> None:
        self._database = context.database

    async def of_user(self, name: str, groups: Iterable[str]) -> list[TeamRow]:
        """Return the user's teams, private one first; makes those never seen before.

        Parameters
        ----------
        name : str
            The hub user.
        groups : iterable of str
            Names of the hub groups they belong to now.
        """
        wanted = [("private", name), *(("group", group) for group in sorted(groups))]
        rows = await self._database.read(lambda s: list(by_names(s, wanted)))
        if len(rows) < len(wanted):
            rows = await self._database.write(lambda s: self._ensure(s, wanted))
        order = {pair: n for n, pair in enumerate(wanted)}
        return sorted(rows, key=lambda row: order[row.kind, row.name])

    def _ensure(self, session: Session, wanted: list[tuple[str, str]]) -> list[TeamRow]:
        rows = list(by_names(session, wanted))
        have = {(row.kind, row.name) for row in rows}
        for kind, name in wanted:
            if (kind, name) not in have:
                row = TeamRow(id=new_id("team"), kind=kind, name=name, created_at=now())
                session.add(row)
                rows.append(row)
        session.flush()
        return rows

    def pick(self, session: Session, who: Principal, team: str | None) -> str:
        """Return the id of the team meant: by id or name; None is the private one.

        Raises
        ------
        NotFound
            When the caller belongs to no such team.
        """
        rows = session.scalars(among(who.team_ids)).all()
        for row in sorted(rows, key=lambda r: r.kind != "private"):
            if team in (row.id, row.name) or (
                team is None and row.kind == "private" and row.name == who.name
            ):
                return row.id
        if team is None and len(rows) == 1:
            return rows[0].id
        raise NotFound(
            f"Team {team!r} was not found.",
            errors=[Fault("No such team.", "/team", hint="`nablahub teams list` shows yours.")],
        )

    def list(
        self, session: Session, who: Principal, asked: PageQuery
    ) -> tuple[list[Team], str | None]:
        """Return a page of the caller's teams."""
        rows, following = page(
            session, among(who.team_ids), asked,
            columns={"created_at": TeamRow.created_at, "name": TeamRow.name}, key=TeamRow.id,
        )  # fmt: skip
        return [Team.model_validate(row, from_attributes=True) for row in rows], following
