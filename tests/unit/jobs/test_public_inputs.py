"""Jobs that read what another team shows to everybody."""

from __future__ import annotations

import pytest

from nablahub.core import errors
from tests.unit.jobs.conftest import Jobs


def test_a_public_dataset_of_another_team_is_an_input(jobs: Jobs) -> None:
    theirs = jobs.service.hub("bob").datasets
    made = theirs.create("shared")
    theirs.write("shared", "a.txt", b"theirs")
    given = [{"name": "in", "kind": "dataset", "ref": "bob/shared"}]
    with pytest.raises(errors.NablaError, match="no dataset 'bob/shared'"):
        jobs.submit("true", inputs=given)
    theirs._hub.patch(
        f"/datasets/{made.id}", {"public": True}, revision=theirs.get(made.id).revision
    )
    job = jobs.shell("cat /inputs/in/a.txt; touch /inputs/in/b", inputs=given)
    assert jobs.api.log(job.id).startswith("theirs")
    assert "Read-only" in jobs.api.log(job.id)
    # What came of it is hers to know, and keeps bob from nothing.
    copied = jobs.shell(
        "cp /inputs/in/a.txt /outputs/out/", inputs=given,
        outputs=[{"name": "out", "kind": "dataset", "ref": "copied"}],
    )  # fmt: skip
    assert copied.state == "Succeeded", copied
    version = theirs.version("shared").id
    assert jobs.service.hub("alice").datasets.lineage("copied").inputs == [version]
    assert theirs.lineage("shared").outputs == []
    theirs.delete_version(version)
    with pytest.raises(errors.NablaError, match="cannot mount a public"):
        jobs.submit("true", inputs=[{"name": "in", "kind": "public", "ref": "bob/shared"}])
