"""What servers that start see of the cluster's events: their own, and no others."""

from __future__ import annotations

from typing import Any

from nablahub_spawner.kubernetes.reflectors import Noticed


class Event(dict[str, Any]):
    """An event that counts how often it is looked at."""

    looks = 0

    def __getitem__(self, key: str) -> Any:
        type(self).looks += 1
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        type(self).looks += 1
        return super().get(key, default)


def event(key: str, name: str, uid: str | None = None, said: str = "") -> Event:
    about = {"name": name, **({"uid": uid} if uid else {})}
    return Event(involvedObject=about, metadata={"uid": key, "resourceVersion": "1"}, message=said)


def said(found: Noticed, *objects: str) -> list[str]:
    return sorted(dict(each)["message"] for each in found.about(*objects))


def test_events_are_found_by_what_they_are_about() -> None:
    rung: list[bool] = []
    found = Noticed({"a": event("a", "pod", "u1", "one")}, lambda: rung.append(True))
    found["b"] = event("b", "claim", said="two")
    found["c"] = event("c", "pod", "u2", "of one before")
    assert said(found, "u1") == ["one"]
    assert said(found, "u1", "claim") == ["one", "two"]
    assert said(found, "pod", "u1") == ["of one before", "one"]
    found["a"] = event("a", "pod", "u1", "newer")
    assert said(found, "u1") == ["newer"]
    found.pop("a")
    found.pop("nothing", None)
    assert said(found, "u1", "nothing") == []
    assert len(rung) == 5
    assert set(found) == {"b", "c"}


def test_nobody_looks_at_the_events_of_others() -> None:
    content = {f"{n}": event(f"{n}", f"task-{n}", f"u{n}", "made") for n in range(5000)}
    found = Noticed(content, lambda: None)
    found["mine"] = event("mine", "nb-alice", "mine", "pulled")
    Event.looks = 0
    assert said(found, "mine", "home-alice") == ["pulled"]
    assert Event.looks == 0  # of 5,000
