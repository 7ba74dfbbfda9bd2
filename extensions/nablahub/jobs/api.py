"""Jobs over the REST API."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from nablahub.core.transport import ServerEvent, Transport
from nablahub.datasets.sending import Progress, silent
from nablahub.jobs.types import Artifact, InstanceTypes, Job, JobSpec


class JobsAPI:
    """Jobs, as a client sees them."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport

    def list(self, *, project: str | None = None, state: str | None = None) -> Iterator[Job]:
        """Yield your jobs, newest first."""
        return map(Job.model_validate, self._hub.pages("/jobs", project=project, state=state))

    def get(self, job_id: str) -> Job:
        """Return a job; NoSuchJob when you have none such."""
        return Job.model_validate(self._hub.get(f"/jobs/{job_id}"))

    def submit(self, spec: JobSpec) -> Job:
        """Submit a job; the error names every field that is wrong."""
        return Job.model_validate(self._hub.post("/jobs", spec.model_dump(mode="json")))

    def workspace(self, project: str, folder: Path | str, *, progress: Progress = silent) -> str:
        """Pack a folder for jobs of a project, and return the digest that `JobSpec` wants.

        What `.gitignore` and `.nablahubignore` name is left out, and nothing is sent that the hub
        has.

        Raises
        ------
        BadWorkspace, WorkspaceTooLarge
            Naming the files.
        """
        from nablahub.jobs.workspaces.client import upload

        return upload(self._hub, project, Path(folder), progress).digest

    def cancel(self, job_id: str) -> Job:
        """End a job; nothing happens when it has ended."""
        return Job.model_validate(self._hub.post(f"/jobs/{job_id}/cancel", None))

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with its log and artifacts; JobRuns when it has not."""
        self._hub.delete(f"/jobs/{job_id}")

    def log(self, job_id: str, *, offset: int = 0) -> str:
        """Return what a job has written, from a byte on."""
        with self._hub.stream("GET", f"/jobs/{job_id}/logs", params={"offset": offset}) as answer:
            return answer.read().decode(errors="replace")

    def follow(
        self, job_id: str, *, offset: int = 0, told: Callable[[str], None] | None = None
    ) -> Generator[str]:
        """Yield what a job writes, as it writes, until it has ended.

        Parameters
        ----------
        offset : int
            The first byte wanted.
        told : callable or None
            Hears of each new message of the job, such as what it waits for.
        """
        said = ""
        for event in self._follow(job_id, offset):
            if event.event == "log":
                yield event.data["text"]
            elif event.event == "status" and event.data["message"] != said:
                said = event.data["message"]  # A connection made anew begins with it again.
                if told is not None and said:
                    told(said)

    def wait(self, job_id: str) -> Job:
        """Return the job once it has ended."""
        *_, end = self._follow(job_id)
        return Job.model_validate(end.data)

    def instance_types(self) -> InstanceTypes:
        """Return what a job may be given, and why some cannot be had."""
        return InstanceTypes.model_validate(self._hub.get("/instance-types"))

    def _follow(self, job_id: str, offset: int = 0) -> Generator[ServerEvent]:
        return self._hub.events(f"/jobs/{job_id}/logs", follow="true", offset=offset)

    def artifacts(self, job_id: str) -> tuple[Artifact, ...]:
        """Return the files in the job's /artifacts."""
        items = self._hub.pages(f"/jobs/{job_id}/artifacts")
        return tuple(Artifact.model_validate(item) for item in items)
