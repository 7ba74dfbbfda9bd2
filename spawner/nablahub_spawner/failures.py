"""Spawns that cannot succeed, told as one sentence and its remedy."""

from __future__ import annotations

from html import escape

from jupyterhub.spawner import SpawnException


class SpawnFailed(SpawnException):  # type: ignore[misc]  # JupyterHub ships no types
    """A server cannot be started, through no fault of the hub.

    JupyterHub counts a ``SpawnException`` neither as an error of its own nor towards
    ``consecutive_failure_limit``; the spawn page shows the two ``jupyterhub_…`` attributes.

    Parameters
    ----------
    sentence : str
        What happened and why.
    remedy : str
        What to do.
    reason : str
        A word for the hub's metrics.
    log_message : str
        What the hub's log says; empty for the same.
    status_code : int
        HTTP status of an answer that tells it.
    """

    def __init__(
        self,
        sentence: str,
        remedy: str = "",
        *,
        reason: str,
        log_message: str = "",
        status_code: int = 400,
    ) -> None:
        self.sentence = sentence
        self.remedy = remedy
        message = f"{sentence} {remedy}".strip()
        html = f'{escape(sentence)} <strong class="nabla-remedy">{escape(remedy)}</strong>'
        self.jupyterhub_message = message
        self.jupyterhub_html_message = html if remedy else escape(sentence)
        super().__init__(
            message,
            reason=reason,
            log_message=log_message,
            message_html=self.jupyterhub_html_message,
            status_code=status_code,
        )
