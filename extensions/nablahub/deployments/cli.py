"""``nablahub deployments``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TextIO

import click

from nablahub.core.console import (
    EXIT_FAILED,
    confirm_deletion,
    emit_fields,
    emit_json,
    emit_table,
    hub_command,
    progress,
    state_text,
    yes_option,
)
from nablahub.core.transport import Transport
from nablahub.deployments.api import DeploymentsAPI
from nablahub.deployments.types import Deployment
from nablahub.projects.api import ProjectsAPI

project_option = click.option("--project", required=True, help="Id or name of the project.")


@click.group()
def deployments() -> None:
    """Serve models and ask them."""


def _show(found: Deployment, *, as_json: bool) -> None:
    if as_json:
        emit_json(found)
        return
    emit_fields({
        "id": found.id, "name": found.name, "state": state_text(found.state),
        "message": found.message or None, "model": found.model_ref,
        "servers": f"{found.ready_replicas} of {found.spec.wanted} ready",
        "instance": found.instance_type, "version": _versions(found),
        "endpoint": found.endpoint, "created": found.created_at, "by": found.created_by,
    })  # fmt: skip


def _versions(found: Deployment) -> str:
    if found.serving_version in (None, found.spec_version):
        return str(found.spec_version)
    return f"{found.spec_version} ({found.serving_version} answers)"


def _follow(api: DeploymentsAPI, found: Deployment, *, as_json: bool) -> None:
    """Wait until a rollout is through, showing each step; exit code 1 when it was given up."""
    with progress() as bar:
        task = bar.add_task(found.name, total=None)
        found = api.wait(
            found.id,
            told=lambda d: bar.update(task, description=f"{d.name}: {d.state} {d.message}"),
        )
    _show(found, as_json=as_json)
    if found.serving_version != found.spec_version and found.spec.wanted:
        raise SystemExit(EXIT_FAILED)


@deployments.command("list")
@click.option("--project", help="Only of this project (id or name).")
@hub_command
def list_deployments(hub: Transport, project: str | None, *, as_json: bool) -> None:
    """List your deployments."""
    project_id = None if project is None else ProjectsAPI(hub).get(project).id
    rows = list(DeploymentsAPI(hub).list(project_id))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {
            "name": lambda d: d.name,
            "id": lambda d: d.id,
            "state": lambda d: state_text(d.state),
            "model": lambda d: d.model_ref,
            "servers": lambda d: f"{d.ready_replicas}/{d.spec.wanted}",
        },
        rows,
    )


@deployments.command("create")
@click.argument("name")
@project_option
@click.option("--model", required=True, help="Id or name, `:version` behind it or the latest.")
@click.option("--replicas", type=click.IntRange(0), help="Servers (1).")
@click.option("--instance-type", help="What each server gets (C4).")
@click.option("--wait/--no-wait", default=True, help="Wait until it answers.")
@hub_command
def create_deployment(
    hub: Transport, name: str, project: str, *, wait: bool, as_json: bool, **fields: Any
) -> None:
    """Deploy a model."""
    given = {key: value for key, value in fields.items() if value is not None}
    api = DeploymentsAPI(hub)
    made = api.create(ProjectsAPI(hub).get(project).id, {"name": name, **given})
    if wait:
        _follow(api, made, as_json=as_json)
    else:
        _show(made, as_json=as_json)


@deployments.command("apply")
@project_option
@click.option("-f", "--file", type=click.File("r", encoding="utf-8"), required=True)
@click.option("--wait/--no-wait", default=True, help="Wait until it answers.")
@hub_command
def apply_deployment(
    hub: Transport, project: str, file: TextIO, *, wait: bool, as_json: bool
) -> None:
    """Create or change a deployment by a YAML spec ("-": standard input)."""
    api = DeploymentsAPI(hub)
    found = api.apply(ProjectsAPI(hub).get(project).id, file.read())
    if wait:
        _follow(api, found, as_json=as_json)
    else:
        _show(found, as_json=as_json)


@deployments.command("show")
@click.argument("deployment")
@hub_command
def show_deployment(hub: Transport, deployment: str, *, as_json: bool) -> None:
    """Show a deployment, by id or name."""
    _show(DeploymentsAPI(hub).get(deployment), as_json=as_json)


@deployments.command("delete")
@click.argument("deployment")
@yes_option
@hub_command
def delete_deployment(hub: Transport, deployment: str, yes: bool, *, as_json: bool) -> None:
    """Delete a deployment and its keys."""
    api = DeploymentsAPI(hub)
    found = api.get(deployment)
    confirm_deletion(f"the deployment {found.name} and its keys", yes=yes)
    api.delete(found.id)
    if as_json:
        emit_json({"deleted": found.id})
    else:
        click.echo(f"Deleted {found.name} ({found.id}).")


@deployments.command("predict")
@click.argument("deployment")
@click.option(
    "--key",
    required=True,
    envvar="NABLAHUB_PREDICTION_KEY",
    show_envvar=True,
    help="An API key of it (`nablahub deployments keys create DEPLOYMENT` makes one).",
)
@click.option(
    "--data",
    type=click.File("rb"),
    help='A V2 inference request as JSON ("-": standard input; default: a sample).',
)
@hub_command
def predict(hub: Transport, deployment: str, key: str, data: Any, *, as_json: bool) -> None:
    """Ask a deployment for a prediction."""
    api = DeploymentsAPI(hub)
    found = api.get(deployment)
    request = found.sample
    if data is not None:
        try:
            request = json.loads(data.read())
        except ValueError as error:
            raise click.UsageError(f"--data is not JSON: {error}") from error
    if not isinstance(request, Mapping):
        raise click.UsageError("The deployment has no sample yet; give a request with --data.")
    answer = api.predict(found, key, request)
    if as_json:
        emit_json(answer)
        return
    for output in answer["outputs"]:
        click.echo(f"{output['name']}  {output['datatype']} {output['shape']}  {output['data']}")


@deployments.group("keys")
def keys() -> None:
    """API keys of a deployment."""


@keys.command("create")
@click.argument("deployment")
@click.option("--name", default="key", help="What it is for.")
@click.option("--expires-in", type=click.IntRange(1), help="Seconds; default: never.")
@hub_command
def create_key(
    hub: Transport, deployment: str, name: str, expires_in: int | None, *, as_json: bool
) -> None:
    """Make an API key; it is shown this once."""
    api = DeploymentsAPI(hub)
    made = api.create_key(api.get(deployment).id, name, expires_in=expires_in)
    if as_json:
        emit_json(made)
    else:
        click.echo(made.key)


@keys.command("list")
@click.argument("deployment")
@hub_command
def list_keys(hub: Transport, deployment: str, *, as_json: bool) -> None:
    """List the API keys."""
    api = DeploymentsAPI(hub)
    rows = list(api.keys(api.get(deployment).id))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {
            "id": lambda k: k.id,
            "name": lambda k: k.name,
            "begins": lambda k: k.prefix,
            "created": lambda k: k.created_at,
            "by": lambda k: k.created_by,
            "expires": lambda k: k.expires_at and k.expires_at.isoformat(),
        },
        rows,
    )


@keys.command("revoke")
@click.argument("deployment")
@click.argument("key")
@hub_command
def revoke_key(hub: Transport, deployment: str, key: str, *, as_json: bool) -> None:
    """Revoke an API key by its id."""
    api = DeploymentsAPI(hub)
    api.revoke_key(api.get(deployment).id, key)
    if as_json:
        emit_json({"revoked": key})
    else:
        click.echo(f"Revoked {key}; within two seconds it opens nothing.")
