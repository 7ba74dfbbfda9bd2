"""Ports and secrets of one machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from nablahub.core.state import StateDir
from nablahub_hub.local.config import (
    HOST,
    LocalConfig,
    PortTaken,
    choose,
    ensure_secrets,
    free_ports,
)


def nobodys(_port: int) -> bool:
    return False


def chosen(
    root: Path, port: int | None = 0, *, next_free: bool = False
) -> tuple[LocalConfig, list[str]]:
    said: list[str] = []
    state = StateDir(root).make()
    config = choose(state, port=port, next_free=next_free, ours=nobodys, say=said.append)
    return config, said


def test_ports_are_chosen_once(tmp_path: Path) -> None:
    first, said = chosen(tmp_path)
    again, _ = chosen(tmp_path)
    assert first == again
    assert not said
    assert len({first.port, first.hub_port, first.traefik_port, first.service_port}) == 4


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} is held"):
            chosen(tmp_path, port)


def test_the_next_free_port_will_do_for_a_demo(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config, said = chosen(tmp_path, port, next_free=True)
    assert config.port != port
    assert said == [f"Port {port} is held by another program: using {config.port}."] or said


def test_an_internal_port_that_a_stranger_took_moves(tmp_path: Path) -> None:
    config, _ = chosen(tmp_path)
    with socket.create_server(("127.0.0.1", config.hub_port)):
        moved, said = chosen(tmp_path)
    assert moved.hub_port != config.hub_port
    assert moved.service_port == config.service_port
    assert said == [
        f"Another program holds port {config.hub_port}, where the hub listened: "
        f"it moves to {moved.hub_port}."
    ]


def test_ports_of_our_own_processes_stay(tmp_path: Path) -> None:
    config, _ = chosen(tmp_path)
    with socket.create_server(("127.0.0.1", config.service_port)):
        kept = choose(
            StateDir(tmp_path), port=None, next_free=False, ours=lambda _port: True, say=print
        )
    assert kept == config


def test_another_port_may_be_asked_for_later(tmp_path: Path) -> None:
    chosen(tmp_path)
    [port] = free_ports(1)
    config, _ = chosen(tmp_path, port)
    assert config.port == port
    assert LocalConfig.load(StateDir(tmp_path)) == config


def test_the_port_asked_for_the_service_is_its_own(tmp_path: Path) -> None:
    config, _ = chosen(tmp_path)
    state = StateDir(tmp_path)

    def ask(port: int) -> LocalConfig:
        return choose(
            state, port=None, next_free=False, ours=nobodys, say=print, service=(HOST, port)
        )

    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Port {port}, which c\.NablaHub\.service_port"):
            ask(port)
    with pytest.raises(PortTaken, match=f"Port {config.port}"):
        ask(config.port)
    moved = ask(config.hub_port)
    assert moved.service_port == config.hub_port
    assert moved.hub_port != config.hub_port
    assert ask(0) == moved


def test_secrets_are_long_private_and_kept(tmp_path: Path) -> None:
    state = StateDir(tmp_path).make()
    ensure_secrets(state)
    before = {p.name: p.read_text() for p in state.secrets.iterdir()}
    ensure_secrets(state)
    assert before == {p.name: p.read_text() for p in state.secrets.iterdir()}
    assert len(state.secret("admin_password")) >= 32
    assert {p.stat().st_mode & 0o777 for p in state.secrets.iterdir()} == {0o600}


def test_hub_and_service_move_to_the_address_that_pods_reach(tmp_path: Path) -> None:
    first, _ = chosen(tmp_path)
    state = StateDir(tmp_path)
    other = "127.0.0.9"
    moved = choose(
        state, port=0, next_free=False, ours=nobodys, say=lambda _: None, hub_host=other,
        service=(other, 0),
    )  # fmt: skip
    assert moved.hub_url == f"http://{other}:{first.hub_port}"
    assert moved.service_url == f"http://{other}:{first.service_port}"
    assert moved.traefik_url == first.traefik_url
    assert moved.proxy_url == first.proxy_url
    # A port that another program holds at that address is no good there.
    with socket.create_server((other, moved.hub_port)):
        again = choose(
            state, port=0, next_free=False, ours=nobodys, say=lambda _: None, hub_host=other,
            service=(other, 0),
        )  # fmt: skip
    assert again.hub_port != moved.hub_port
    assert again.service_port == moved.service_port
