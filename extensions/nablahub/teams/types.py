"""Wire types of teams."""

from __future__ import annotations

from typing import Literal

from nablahub.core.wire import Resource, Timestamp


class Team(Resource):
    """A team that the caller belongs to."""

    id: str
    name: str
    kind: Literal["private", "group"]
    created_at: Timestamp
