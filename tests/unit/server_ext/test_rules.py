"""What may pass: paths, queries, headers."""

import pytest

from nablahub_server import rules

BASE = "/user/alice/nablahub/api/"


@pytest.mark.parametrize(
    ("path", "inner"),
    [
        ("projects", "projects"),
        ("datasets/ds1/versions/v/files/a%20b.csv", "datasets/ds1/versions/v/files/a%20b.csv"),
        ("files/..hidden", "files/..hidden"),
        ("files/100%25", "files/100%25"),
        ("/projects", "projects"),
        ("", ""),
    ],
)
def test_an_ordinary_path_passes_as_it_was_sent(path: str, inner: str) -> None:
    assert rules.inner_path(BASE + path) == inner


@pytest.mark.parametrize(
    "path",
    [
        "../secrets",
        "a/../../b",
        "a/%2e%2e/b",
        "a%2f..%2fb",
        "%252e%252e/x",
        "a\\..\\b",
        "a%5cb",
        "a%0d%0ab",
    ],
)
def test_a_path_that_could_leave_the_api_is_refused(path: str) -> None:
    assert rules.inner_path(BASE + path) is None


def test_the_sign_in_of_jupyter_stays_behind() -> None:
    assert rules.inner_query("project=p1&token=abc&_xsrf=2&empty=") == "project=p1&empty="


def test_headers_of_the_connection_and_cookies_do_not_come_back() -> None:
    answer = [
        ("Content-Type", "text/plain"),
        ("Set-Cookie", "a=1"),
        ("Connection", "close, X-Hop"),
        ("X-Hop", "1"),
        ("Transfer-Encoding", "chunked"),
        ("ETag", '"1"'),
    ]
    assert rules.returned_headers(answer) == [("Content-Type", "text/plain"), ("ETag", '"1"')]


@pytest.mark.parametrize(
    ("location", "translated"),
    [
        ("/services/nablahub/api/v1/jobs/j1?x=1", "/user/alice/nablahub/api/jobs/j1?x=1"),
        ("http://h:1/services/nablahub/api/v1/jobs/j1", "/user/alice/nablahub/api/jobs/j1"),
        ("http://other/services/nablahub/api/v1/jobs/j1", None),
        ("/hub/logout", None),
        ("", None),
    ],
)
def test_a_location_is_translated_or_dropped(location: str, translated: str | None) -> None:
    service = "http://h:1/services/nablahub"
    assert rules.returned_location(location, service, "/user/alice/") == translated


def test_what_users_wrote_is_always_in_a_sandbox() -> None:
    assert rules.content_policy("sandbox allow-scripts") == "sandbox allow-scripts"
    assert "sandbox" in rules.content_policy("default-src 'self'")
    assert "sandbox" in rules.content_policy("")
