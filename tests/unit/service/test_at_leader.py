"""Which requests a process that does not lead hands on: what only the leader holds or writes."""

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
#: What the leader alone writes: versions, of which two at a time would write two manifests in one
#: place, and the text of a key, which opens as soon as it is shown (its hash is written by then).
WRITES = {
    "POST /datasets/{dataset}/uploads/{upload}/commit",
    "POST /datasets/{dataset}/uploads/{upload}/commit-changes",
    "POST /deployments/{deployment}/keys",
}


def test_what_only_the_leader_holds_or_writes_is_asked_of_it() -> None:
    found = operations_of(discover())
    about = {f"{op.method} {op.path}" for op in found if HELD.fullmatch(op.path)}
    assert len(about) >= 6
    assert about > READ
    assert {f"{op.method} {op.path}" for op in found if op.at_leader} == (about - READ) | WRITES
    assert all(op.streamed for op in found if op.at_leader)
