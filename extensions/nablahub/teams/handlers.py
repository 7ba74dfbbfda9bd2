"""Operations on teams."""

from __future__ import annotations

from nablahub.core.operations import Call, operation
from nablahub.core.paging import Page, PageQuery
from nablahub.teams.service import TeamService
from nablahub.teams.types import Team


@operation("GET", "/teams", scope="teams:read", query=PageQuery)
def list_teams(call: Call) -> Page[Team]:
    """List the teams you belong to."""
    items, following = call.get(TeamService).list(call.session, call.who, call.query)
    return Page(items=items, next=following)
