"""What a job leaves: its outputs, kept after its command has ended well."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from nablahub.core.errors import Invalid
from nablahub.jobs.data import Committer
from nablahub.jobs.runners.contract import Runner, TaskName
from nablahub.jobs.store import JobRow
from nablahub.jobs.tasks import spec_of
from nablahub.jobs.types import Output

LONGEST_STRING = 64 * 1024


class OutputNotWritten(Invalid):
    """A declared output is not there, or is not what was declared."""

    code = "output_not_written"


def collect(job: JobRow, runner: Runner, committer: Committer) -> dict[str, Any]:
    """Keep the outputs of a job that succeeded and return what its row tells of them.

    Blocks; belongs into a thread. May be repeated after a crash at any point: a dataset's version
    is committed under the key ``job/<job>/<output>``, which gives the same version again.

    Raises
    ------
    OutputNotWritten
        A string was not written, or is no text.
    nablahub.core.errors.NablaError
        A dataset refuses the commit: its quota, a bad path, a full disk.
    """
    found: dict[str, Any] = {}
    for output in spec_of(job).outputs:
        left = runner.output(TaskName(job.id), output.name)
        found[output.name] = _keep(job, output, left, committer)
    return found


def _keep(job: JobRow, output: Output, left: Path, committer: Committer) -> dict[str, Any]:
    if output.kind == "volume":
        return {"kind": "volume", "ref": output.ref}
    if output.kind == "string":
        return {"kind": "string", "value": _text(output, left)}
    read = [given.ref for given in spec_of(job).inputs if given.kind == "dataset"]
    version = committer.commit_tree(
        output.ref,
        left,
        key=f"job/{job.id}/{output.name}",
        author=job.created_by,
        source=f"job:{job.id}",
        message=f"Output {output.name} of job {job.name}",
        inputs=read,
    )
    return {"kind": "dataset", "ref": version}


def _text(output: Output, path: Path) -> str:
    """Read a small text that a user's code wrote: no link, no pipe, no folder."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise OutputNotWritten(
            f"The job did not write the file /outputs/{output.name}.",
            hint="A string output is a small text file of that name.",
        ) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OutputNotWritten(f"/outputs/{output.name} is no file.")
        content = os.read(fd, LONGEST_STRING + 1)
    finally:
        os.close(fd)
    if len(content) > LONGEST_STRING:
        raise OutputNotWritten(f"/outputs/{output.name} is longer than {LONGEST_STRING} bytes.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise OutputNotWritten(f"/outputs/{output.name} is no UTF-8 text: {error}.") from error
