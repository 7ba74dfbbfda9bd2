"""Which requests a process hands on that does not lead: those about what only the leader holds."""

from __future__ import annotations

import re

from nablahub.core.extension import discover
from nablahub.service.app import operations_of

#: Logs and files of jobs, which the leader takes in; files that the leader writes for others; the
#: cache of its machine, but for what pods ask about theirs.
HELD = re.compile(
    r"/jobs/\{job\}/(logs|artifacts.*|archive|task/.*)|/deployment-routes|/cache(?!/users).*"
)
#: Of buckets, which lie elsewhere: only who writes has to know whether the job has ended.
READ = {
    "GET /jobs/{job}/task/buckets/{mount}",
    "GET /jobs/{job}/task/buckets/{mount}/content",
    "POST /jobs/{job}/task/buckets/{mount}/links",
}


def test_what_only_the_leader_holds_is_asked_of_it() -> None:
    found = operations_of(discover())
    about = {f"{op.method} {op.path}" for op in found if HELD.fullmatch(op.path)}
    assert len(about) >= 6
    assert about > READ
    # The text of a key opens as soon as it is shown: the leader has written its hash by then.
    assert {f"{op.method} {op.path}" for op in found if op.at_leader} == (about - READ) | {
        "POST /deployments/{deployment}/keys"
    }
    assert all(op.streamed for op in found if op.at_leader)
