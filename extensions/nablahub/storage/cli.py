"""``nablahub storage``."""

from __future__ import annotations

from typing import Any

import click

from nablahub.core.console import (
    confirm_deletion,
    emit_fields,
    emit_json,
    emit_table,
    hub_command,
    yes_option,
)
from nablahub.core.quantities import human
from nablahub.core.transport import Transport
from nablahub.storage.api import StorageAPI
from nablahub.storage.types import StorageProvider

VARIABLE = "NABLAHUB_STORAGE_SECRET_KEY"


@click.group()
def storage() -> None:
    """Keep data in buckets of your own, and see what takes the disk."""


def _show(found: StorageProvider, *, as_json: bool) -> None:
    if as_json:
        emit_json(found)
        return
    emit_fields({
        "id": found.id, "name": found.name, "type": found.type, "bucket": found.bucket,
        "prefix": found.prefix or None, "endpoint": found.endpoint or "Amazon S3",
        "public endpoint": found.public_endpoint or None, "region": found.region,
        "path style": found.path_style, "direct": found.direct, "cors": found.cors,
        "access key": found.access_key, "created": found.created_at, "by": found.created_by,
    })  # fmt: skip


@storage.command("list")
@hub_command
def list_providers(hub: Transport, *, as_json: bool) -> None:
    """List your storage providers."""
    rows = list(StorageAPI(hub).list())
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {
            "name": lambda p: p.name, "id": lambda p: p.id, "bucket": lambda p: p.bucket,
            "endpoint": lambda p: p.endpoint or "Amazon S3", "created": lambda p: p.created_at,
        },
        rows,
    )  # fmt: skip


def _place_options(function: Any) -> Any:
    for option in reversed(
        [
            click.option("--prefix", help="Folder in the bucket."),
            click.option("--endpoint", help="Where the hub reaches it; default: Amazon S3."),
            click.option("--public-endpoint", help="Where clients reach it; default: the same."),
            click.option("--region", help="Default: us-east-1."),
            click.option(
                "--path-style/--host-style", default=None, help="http://host/bucket, the default."
            ),
            click.option(
                "--direct/--through-hub", default=None,
                help="Whether clients exchange bytes with the bucket itself, the default.",
            ),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


@storage.command("create")
@click.argument("name")
@click.option("--bucket", required=True, help="It must be there already.")
@click.option("--access-key", required=True, help="Id of the key.")
@click.option(
    "--secret-key", envvar=VARIABLE, prompt=True, hide_input=True,
    help=f"Better given by {VARIABLE} or typed when asked.",
)  # fmt: skip
@_place_options
@click.option("--team", help="Id or name; default: your private team.")
@hub_command
def create_provider(
    hub: Transport,
    name: str,
    bucket: str,
    access_key: str,
    secret_key: str,
    *,
    as_json: bool,
    **place: Any,
) -> None:
    """Make a storage provider of a bucket, after the hub tried it out."""
    made = StorageAPI(hub).create(name, bucket, access_key, secret_key, **_given(place))
    _show(made, as_json=as_json)


@storage.command("show")
@click.argument("provider")
@hub_command
def show_provider(hub: Transport, provider: str, *, as_json: bool) -> None:
    """Show a storage provider, by id or name; its secret key is never shown."""
    _show(StorageAPI(hub).get(provider), as_json=as_json)


@storage.command("update")
@click.argument("provider")
@click.option("--name", help="A new name.")
@click.option("--bucket", help="Only while no dataset lies there.")
@click.option("--access-key", help="Id of the key.")
@click.option("--secret-key", envvar=VARIABLE, help=f"Better given by {VARIABLE}.")
@_place_options
@hub_command
def update_provider(hub: Transport, provider: str, *, as_json: bool, **fields: Any) -> None:
    """Change a storage provider, after the hub tried it out."""
    api = StorageAPI(hub)
    _show(api.change(api.get(provider), **_given(fields)), as_json=as_json)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


@storage.command("check")
@click.argument("provider")
@hub_command
def check_provider(hub: Transport, provider: str, *, as_json: bool) -> None:
    """Try a storage provider out; ends with 1 when it does not work."""
    found = StorageAPI(hub).check(provider)
    if as_json:
        emit_json(found)
    else:
        click.echo("It works." if found.ok else f"{found.problem} {found.hint}")
    if not found.ok:
        raise SystemExit(1)


@storage.command("delete")
@click.argument("provider")
@yes_option
@hub_command
def delete_provider(hub: Transport, provider: str, *, yes: bool, as_json: bool) -> None:
    """Delete a storage provider that holds no dataset; its bucket stays as it is."""
    api = StorageAPI(hub)
    found = api.get(provider)
    confirm_deletion(f"the storage provider {found.name}", yes=yes)
    api.delete(found.id)
    if as_json:
        emit_json({"deleted": found.id})
    else:
        click.echo(f"Deleted {found.name} ({found.id}).")


@storage.command("usage")
@hub_command
def show_usage(hub: Transport, *, as_json: bool) -> None:
    """Show what /storage of your teams and your home take, and what in them is large."""
    found = StorageAPI(hub).usage()
    if as_json:
        emit_json(found)
        return
    emit_table(
        {
            "what": lambda u: "/storage" if u.kind == "storage" else "home",
            "of": lambda u: u.name,
            "used": lambda u: human(u.bytes) if u.measured_at else "not measured yet",
            "quota": lambda u: human(u.quota_bytes) if u.quota_bytes else "none",
            "state": lambda u: u.level,
        },
        found,
    )  # fmt: skip
    for each in found:
        if each.level != "ok":
            click.echo(f"\nLargest in {'/storage' if each.kind == 'storage' else 'home'} of "
                       f"{each.name}:")  # fmt: skip
            for large in each.largest:
                click.echo(f"  {human(large.bytes):>12}  {large.path}")


@storage.command("rotate-keys")
@hub_command
def rotate_keys(hub: Transport, *, as_json: bool) -> None:
    """Encrypt all stored secrets of the hub with a new key; for administrators."""
    found = StorageAPI(hub).rotate_keys()
    if as_json:
        emit_json(found)
    else:
        click.echo(f"Encrypted {found.secrets} secrets with a new key.")
