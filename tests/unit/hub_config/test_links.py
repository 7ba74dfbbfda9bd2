"""One-time sign-in links."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nablahub.core.state import StateDir
from nablahub_hub import links


def key(link: str) -> str:
    return link.rpartition("/")[2]


def test_a_link_works_once_for_its_user(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    link = links.make(state, "http://127.0.0.1:8000/", "ada")
    assert link.startswith("http://127.0.0.1:8000/hub/nablahub/sign-in/")
    assert links.use(links.folder(state), key(link)) == "ada"
    assert links.use(links.folder(state), key(link)) is None


def test_an_old_link_is_dead(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    link = links.make(state, "http://x", "ada", now=1000.0)
    assert links.use(links.folder(state), key(link), now=1000.0 + links.LIFETIME + 1) is None


def test_made_up_keys_and_paths_find_nothing(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    links.make(state, "http://x", "ada")
    for guess in ("", "x", "../../secrets/admin_password", "a/b"):
        assert links.use(links.folder(state), guess) is None


def test_the_key_itself_is_not_kept(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    link = links.make(state, "http://x", "ada")
    for path in links.folder(state).iterdir():
        assert key(link) not in path.name + path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600


def test_of_many_at_once_one_wins(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    link = links.make(state, "http://x", "ada")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: links.use(links.folder(state), key(link)), range(32)))
    assert found.count("ada") == 1
