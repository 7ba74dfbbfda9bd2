"""The reference names everything that the code has: nothing is added without being documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs._ext import client, commands, config, problems
from docs._ext.reference import PARTS, fill
from nablahub.core.errors import NablaError
from nablahub.core.extension import discover
from nablahub.core.settings import Settings
from nablahub.core.state import StateDir
from nablahub.service.app import operations_of
from nablahub.service.openapi import full_path
from nablahub_hub.settings import NablaHub

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SOURCES = ("extensions", "spawner", "hub_config", "server_ext", "tools")


def page(name: str) -> str:
    """Return a page as Sphinx sees it."""
    return fill((DOCS / name).read_text())


def test_every_path_of_the_state_directory_is_in_its_page() -> None:
    text = page("reference/state.md")
    paths = [name for name, member in vars(StateDir).items() if isinstance(member, property)]
    assert len(paths) > 15
    missing = [name for name in paths if f"`StateDir.{name}`" not in text]
    assert not missing
    assert "`service/nablahub.sqlite`" in text


def test_every_setting_is_in_its_page() -> None:
    text = page("reference/settings.md")
    own = config.own_traits(NablaHub)
    assert {"state_dir", "port", "unsandboxed"} <= set(own)
    assert not [name for name in own if f"### c.NablaHub.{name}\n" not in text]
    # Where the parts of one machine find each other is not for people to set.
    assert set(Settings.model_fields) - set(own) == {"hub_api_url", "proxy_url", "service_prefix"}
    quota = text.partition("### c.NablaHub.dataset_quota_bytes\n")[2].splitlines()[1]
    assert quota == "Int, in bytes, at least 0, default `107374182400`."
    sizes = [name for name in own if name.endswith(("_bytes", "_seconds", "_timeout", "_days"))]
    assert not [name for name in sizes if not own[name].metadata.get("unit")]
    undescribed = [name for name, trait in own.items() if not trait.help]
    assert not undescribed


def test_every_environment_variable_of_ours_is_in_the_settings_page() -> None:
    text = page("reference/settings.md")
    found = set()
    for root in SOURCES:
        for path in (ROOT / root).rglob("*"):
            if path.is_file() and path.suffix in ("", ".py", ".ts", ".html"):
                found |= set(re.findall(r"\bNABLAHUB_[A-Z_]+\b", path.read_text(errors="replace")))
    missing = sorted(name for name in found if f"`{name}`" not in text)
    assert not missing


def test_every_error_code_is_explained_and_none_that_is_gone() -> None:
    source = (DOCS / "troubleshooting.md").read_text()
    text = page("troubleshooting.md")
    known = problems.tree()
    assert {"not_found", "port_taken", "invalid_workflow"} <= set(known)
    assert not [code for code in known if f"`{code}`" not in text]
    assert not [code for code in problems.HEADING.findall(source) if code not in known]


def test_an_error_code_means_one_thing() -> None:
    owners: dict[str, list[type]] = {}
    todo: list[type] = [NablaError]
    problems.tree()
    while todo:
        cls = todo.pop()
        todo += cls.__subclasses__()
        if cls.__module__.startswith("nablahub") and "code" in vars(cls):
            owners.setdefault(vars(cls)["code"], []).append(cls)
    doubled = {
        code: classes
        for code, classes in owners.items()
        if not all(issubclass(cls, classes[0]) for cls in classes)
    }
    assert not doubled


def test_every_operation_is_in_the_rest_reference_and_the_permissions() -> None:
    rest, permissions = page("reference/rest.md"), page("reference/permissions.md")
    operations = operations_of(discover())
    assert len(operations) > 30
    for op in operations:
        assert f"### {op.method} {full_path(op)}\n" in rest
        right = f"`{op.scope}`" if op.scope else "none: anybody, signed in or not"
        assert f"| `{op.method} {full_path(op)}` | {right} |" in permissions


def test_every_command_is_in_the_reference() -> None:
    text = page("reference/cli.md")
    names = commands.names()
    assert {"nablahub up", "nablahub demo", "nablahub projects create"} <= set(names)
    assert not [name for name in names if not re.search(rf"^#+ {name}$", text, re.MULTILINE)]


def test_every_call_of_the_client_is_in_its_page_with_a_sentence() -> None:
    text = page("reference/python.md")
    assert {"projects", "datasets", "workflows", "deployments"} <= set(client.parts())
    for name, cls in client.parts().items():
        assert f"### hub.{name}\n" in text
        for method, function in client.methods(cls).items():
            assert f"| `{method}(" in text
            assert function.__doc__, f"hub.{name}.{method}"


@pytest.mark.parametrize("name", ["workflow-spec", "deployment-spec", "instance-types"])
def test_the_example_at_the_top_of_a_spec_page_is_accepted(name: str) -> None:
    from nablahub.core.instances import parse as parse_types
    from nablahub.core.yamlspec import document
    from nablahub.deployments.specs import read_spec
    from nablahub.workflows.checks import check
    from nablahub.workflows.spec import parse

    text = (DOCS / f"reference/{name}.md").read_text()
    example = re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)[0]
    if name == "instance-types":
        assert list(parse_types(example, name)) == ["C4", "Free-CPU", "big"]
    elif "workflow" in name:
        source = document(example)
        spec, faults = parse(source)
        assert spec is not None
        assert not faults + check(source, spec)
    else:
        assert read_spec(example)[0].model == "digits"


def test_every_mark_is_made_and_every_part_is_used() -> None:
    text = "".join(path.read_text() for path in DOCS.rglob("*.md") if "_build" not in path.parts)
    used = set(re.findall(r"^<!-- made at build: ([\w ]+) -->$", text, re.MULTILINE))
    assert used - {"other codes"} == set(PARTS)
