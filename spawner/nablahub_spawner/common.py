"""What all our spawners share: the choice of an instance type, the user's teams, progress."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from traitlets import Unicode, default

from nablahub.core import kubenames
from nablahub.core.state import StateDir
from nablahub_spawner.instances import InstanceChoice
from nablahub_spawner.news import News
from nablahub_spawner.teams import Team, teams_of_user


class NablaSpawner(InstanceChoice):
    """Settings of every spawner of ours; ``c.NablaSpawner.<name>`` sets them for all of them."""

    state_dir = Unicode(config=True, help="The hub's state directory.")
    service_url = Unicode(config=True, help="Where the hub service listens, with its prefix.")

    # Of JupyterHub's Spawner, which stands beside this class in every spawner of ours.
    name: str
    log: Any
    api_token: str
    _log_name: str
    _news: News | None = None

    @default("options_form")
    def _default_options_form(self) -> Any:
        return type(self).cards_form

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return self.read_form

    @default("instance_types_file")
    def _default_instance_types_file(self) -> str:
        return str(self.state.instance_types)

    @property
    def kept_instance_types(self) -> Path:
        """Where the instance types that were last found sound are kept."""
        return self.state.kept_instance_types

    @default("default_url")
    def _default_default_url(self) -> str:
        return "/lab"

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Any:
        return _applied_at_start

    # -- what is known of the user ---------------------------------------------------------------

    @property
    def state(self) -> StateDir:
        """The hub's state directory."""
        return StateDir(Path(self.state_dir))

    @property
    def slug(self) -> str:
        """The user's name as a folder's, which no two users share."""
        return kubenames.folder(self.user.name)

    async def teams(self) -> list[Team]:
        """Return the user's teams, the private one first."""
        return await teams_of_user(self.service_url, self.api_token, self.teams_memory)

    @property
    def teams_memory(self) -> Path:
        """Where the service's last answer about the user's teams is kept."""
        return self.state.run / "servers" / f"{self.slug}.teams.json"

    # -- progress ---------------------------------------------------------------------------------

    def tell(self, sentence: str) -> None:
        """Show a sentence on the spawn page, and log it."""
        if self._news is None or self._news.tell(sentence):
            self.log.info("%s: %s", self._log_name, sentence)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what the page shows while the server starts."""
        yield {"progress": 10, "message": "Preparing your server"}
        percent = 10
        if self._news is not None:
            async for sentence in self._news:
                percent = min(percent + 5, 60)
                yield {"progress": percent, "message": sentence}
        yield {"progress": 70, "message": "JupyterLab is starting"}


def _applied_at_start(_spawner: Any, _options: Mapping[str, Any]) -> None:
    """Leave the options to ``choose``; without this JupyterHub would warn of them."""
