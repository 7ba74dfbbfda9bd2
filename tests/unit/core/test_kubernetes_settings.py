"""A hub beside its cluster finds it as kubectl would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nablahub.core.kubernetes import beside


def kubeconfig(path: Path, **context: str) -> Path:
    contexts = [
        {"name": "other", "context": {"namespace": "wrong"}},
        {"name": "mine", "context": context},
    ]
    path.write_text(json.dumps({"current-context": "mine", "contexts": contexts}))
    return path


def test_the_file_and_the_namespace_of_its_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kubeconfig(tmp_path / "config", namespace="team")
    monkeypatch.setenv("KUBECONFIG", f"{path}:/nonsuch")
    found = beside({"image": "x"})
    assert (found.kubeconfig, found.namespace, found.image) == (path, "team", "x")


def test_what_is_given_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonsuch")
    path = kubeconfig(tmp_path / "config", namespace="team")
    assert beside({"kubeconfig": str(path)}).namespace == "team"
    assert beside({"kubeconfig": path, "namespace": "own"}).namespace == "own"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"contexts": null}'])
def test_a_file_that_says_nothing_is_somebody_elses_fault(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    assert beside({"kubeconfig": path}).namespace == "default"


def test_without_any_it_is_that_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert beside({}).kubeconfig == tmp_path / ".kube" / "config"
