"""Projects through the real service and the real client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nablahub.core import errors
from nablahub.core.extension import load
from nablahub.projects.errors import ProjectNameTaken
from tests.support.service import RunningService, running

EXTENSIONS = [load(f"nablahub.{name}.extension:extension") for name in ("teams", "projects")]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state"), EXTENSIONS) as found:
        yield found


def test_create_get_change_delete(service: RunningService) -> None:
    hub = service.hub("alice")
    made = hub.projects.create("digits", description="Old **scans**")
    assert hub.projects.get("digits") == made
    assert made.id.startswith("p")
    changed = hub.projects.change(made, name="digits-2")
    assert (changed.name, changed.description, changed.revision) == ("digits-2", "Old **scans**", 2)
    with pytest.raises(errors.PreconditionFailed, match="revision is now 2"):
        hub.projects.change(made, name="digits-3")
    hub.projects.delete(made.id)
    with pytest.raises(errors.NotFound):
        hub.projects.get(made.id)


def test_a_name_is_unique_in_its_team_only(service: RunningService) -> None:
    service.hub("alice").projects.create("mine")
    with pytest.raises(ProjectNameTaken, match="'mine' already"):
        service.hub("alice").projects.create("mine")
    service.hub("bob").projects.create("mine")


def test_what_is_not_yours_does_not_exist(service: RunningService) -> None:
    made = service.hub("alice").projects.create("secret-plan")
    bob = service.hub("bob")
    with pytest.raises(errors.NotFound):
        bob.projects.get(made.id)
    with pytest.raises(errors.NotFound):
        bob.projects.delete(made.id)
    with pytest.raises(errors.NotFound):
        bob.projects.change(made, name="stolen")
    assert made.id not in [p.id for p in bob.projects.list()]


def test_an_update_without_if_match_is_428(service: RunningService) -> None:
    made = service.hub("alice").projects.create("careful")
    answer = httpx.patch(
        f"{service.url}/api/v1/projects/{made.id}",
        json={"name": "careless"},
        headers={"Authorization": "Bearer token-of-alice"},
    )
    assert answer.status_code == 428
    assert answer.json()["code"] == "if_match_missing"
    assert "ETag" in answer.json()["hint"]


def test_one_key_makes_one_project(service: RunningService) -> None:
    hub = service.transport("alice")
    first = hub.post("/projects", {"name": "once"}, key="k1")
    assert hub.post("/projects", {"name": "once"}, key="k1") == first
    with pytest.raises(errors.Conflict, match="another request"):
        hub.post("/projects", {"name": "twice"}, key="k1")
    # Another user's key of the same name is another key.
    assert service.transport("bob").post("/projects", {"name": "once"}, key="k1") != first


def test_pages_hold_everything_once(service: RunningService) -> None:
    hub = service.hub("carol")
    names = [f"page-{n:02}" for n in range(23)]
    for name in names:
        hub.projects.create(name)
    for sort, expected in (("name", names), ("-created_at", names[::-1])):
        found, cursor = [], None
        while True:
            page = hub.transport.get("/projects", limit=5, sort=sort, cursor=cursor)
            found += [item["name"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert found == expected


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("a/b", "'/'"),
        ("", "at least 1"),
        (" a", "begin or end"),
        ("a\nb", r"'\n'"),
        ("x" * 101, "100"),
    ],
)
def test_bad_names_say_why(service: RunningService, name: str, word: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        service.hub("alice").projects.create(name)
    assert caught.value.errors[0].pointer == "/name"
    assert word in caught.value.errors[0].message


def test_wrong_types_name_their_fields(service: RunningService) -> None:
    with pytest.raises(errors.Invalid) as caught:
        service.transport("alice").post("/projects", {"name": 5, "descripton": "x"})
    assert sorted(f.pointer for f in caught.value.errors) == ["/descripton", "/name"]


def test_broken_json_is_400_with_its_place(service: RunningService) -> None:
    answer = httpx.post(
        f"{service.url}/api/v1/projects",
        content=b'{"name": \n oops}',
        headers={"Authorization": "Bearer token-of-alice"},
    )
    assert answer.status_code == 400
    assert "line 2, column 2" in answer.json()["detail"]


def test_state_survives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path, EXTENSIONS) as first:
        made = first.hub().projects.create("lasting")
    with running(tmp_path, EXTENSIONS) as second:
        assert second.hub().projects.get("lasting") == made
    assert not list((tmp_path / "service" / "backups").glob("*"))


def test_events_tell_of_changes_and_resume(service: RunningService) -> None:
    hub = service.hub("alice")
    after = hub.transport.get("/whoami") and None
    first = hub.projects.create("event-1")
    seen = []
    events = hub.transport.events(after=0)
    for event in events:
        seen.append(event)
        if event.data["id"] == first.id:
            break
    events.close()
    assert after is None
    second = hub.projects.create("event-2")
    resumed = hub.transport.events(last_id=seen[-1].id)
    event = next(resumed)
    assert (event.data["id"], event.data["type"]) == (second.id, "created")
    resumed.close()
    bobs = service.hub("bob")
    made = bobs.projects.create("event-3")
    mine = bobs.transport.events(last_id=seen[-1].id)
    assert next(mine).data["id"] == made.id
    mine.close()
