"""The showcase's steps, on the client alone: each finds what is there before it makes anything.

So a second demo, or one after a crash anywhere, goes on where the first left off: things are found
by their names, dataset versions by the hashes of their files, runs by their state.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nablahub import showcase
from nablahub.client import Hub
from nablahub.core.environments import Environments
from nablahub.core.errors import NablaError, NotFound
from nablahub.core.settings import Settings
from nablahub.core.state import StateDir
from nablahub.deployments.types import Deployment
from nablahub.workflows.types import ENDED, Run
from nablahub_hub.demo.report import Report, Step
from nablahub_hub.local.config import write_private

#: The environments that the showcase's jobs and model server run in.
ENVIRONMENTS = ("default", "runner", "serving")
KEY_NAME = "demo"


class ShowcaseFailed(NablaError):
    """A step of the showcase did not end well."""

    code = "showcase_failed"
    title = "The showcase failed"


@dataclass
class Result:
    """What the showcase made or found."""

    project: str = ""
    dataset_version: str = ""
    run: str = ""
    output_version: str = ""
    model_version: str = ""
    deployment: str = ""
    endpoint: str = ""
    prediction: Any = None
    urls: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Showcase:
    """The showcase on one hub.

    Parameters
    ----------
    hub : Hub
        The client.
    state : StateDir
        Where environments and the demo's prediction key are kept.
    public_url : str
        What people type.
    report : Report
        Where the steps are shown.
    """

    hub: Hub
    state: StateDir
    public_url: str
    report: Report
    result: Result = field(default_factory=Result)

    def run(self) -> Result:
        """Go the whole path; raises a NablaError that says which step failed and why."""
        self.environments()
        self.project()
        self.dataset()
        run = self.workflow_run(self.workflow())
        self.outputs(run)
        deployment = self.deployment()
        self.prediction(deployment)
        self.result.seconds = self.report.seconds
        self.result.urls = self.urls(run)
        return self.result

    def environments(self) -> None:
        """Build the Python environments that are not there yet."""
        built, names = self._built(), self._environments()
        with self.report.step("environments", "Build Python environments") as step:
            for index, name in enumerate(names):
                built.ensure(name, _environment_progress(step, index, len(names)))
                step.at(index + 1, len(names))
            step.say(", ".join(names))

    def _built(self) -> Environments:
        return Environments(self._settings.environments)

    @property
    def _settings(self) -> Settings:
        return Settings.load(self.state.settings)

    def _environments(self) -> tuple[str, ...]:
        # Pods have theirs in images; the dataset is still written here.
        return ENVIRONMENTS[:1] if self._settings.runner == "kubernetes" else ENVIRONMENTS

    def project(self) -> None:
        """Make the project."""
        with self.report.step("project", "Create a project") as step:
            project = self.hub.projects.ensure(
                showcase.PROJECT, description="From handwritten digits to a served prediction"
            )
            self.result.project = project.id
            step.say(f"{project.name} ({project.id})")

    def dataset(self) -> None:
        """Commit scikit-learn's digits as a dataset version."""
        with self.report.step("dataset", "Commit a dataset version") as step:
            dataset = self.hub.datasets.ensure(showcase.DATASET, project=self.result.project)
            with tempfile.TemporaryDirectory(prefix="nablahub-demo-") as folder:
                files = Path(folder)
                prefix = self._built().ensure("default").prefix
                showcase.write_dataset(files, prefix)
                latest = dataset.latest_version
                if latest is not None and self._same(latest.ref, files):
                    self.result.dataset_version = latest.ref
                else:
                    version = self.hub.datasets.upload(
                        dataset.id, files, message="scikit-learn's digits", progress=step.at
                    )
                    self.result.dataset_version = version.ref
            step.say(self.result.dataset_version)

    def _same(self, ref: str, folder: Path) -> bool:
        """Whether a version has exactly the files of a folder."""
        there = {file.path: file.md5 for file in self.hub.datasets.files(ref)}
        here = {
            str(path.relative_to(folder)): hashlib.md5(
                path.read_bytes(), usedforsecurity=False
            ).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }
        return there == here

    def workflow(self) -> str:
        """Make the workflow, or bring it up to date; return its id."""
        with self.report.step("workflow", "Create a workflow") as step:
            workflow = self.hub.workflows.apply(
                self.result.project,
                showcase.workflow_yaml(),
                files=showcase.workflow_files(),
                name=showcase.WORKFLOW,
            )
            step.say(f"{workflow.name}: {' → '.join(job.name for job in workflow.jobs)}")
            found: str = workflow.id
            return found

    def workflow_run(self, workflow_id: str) -> Run:
        """Run the workflow, or go on with the run that is there."""
        with self.report.step("run", "Run it") as step:
            run = self._run_there_is(workflow_id) or self.hub.workflows.start(workflow_id)
            if run.state not in ENDED:
                for now in self.hub.workflows.follow(run):
                    _show_run(step, now)
                    run = now
            self.result.run = run.id
            if run.state != "Succeeded":
                raise ShowcaseFailed(
                    f"The run ended as {run.state}: {run.message or run.reason}",
                    hint=_log_hint(run),
                )
            step.say(f"run {run.number}: {', '.join(job.name for job in run.jobs)}")
        found: Run = run
        return found

    def _run_there_is(self, workflow_id: str) -> Run | None:
        """Return the newest run that succeeded or still goes on."""
        for run in self.hub.workflows.runs(workflow_id):
            if run.state == "Succeeded" or run.state not in ENDED:
                found: Run = run
                return found
        return None

    def outputs(self, run: Run) -> None:
        """Take what the run left: a dataset version and a model version."""
        last = {output.kind: output.ref or "" for output in run.outputs.values()}
        self.result.output_version = last.get("dataset", "")
        self.result.model_version = last.get("model", "")
        if not self.result.output_version or not self.result.model_version:
            raise ShowcaseFailed(
                f"The run left no {'model' if self.result.output_version else 'dataset'} version; "
                f"its outputs are {sorted(run.outputs)}.",
                hint="This is an error of the showcase itself: please report it.",
            )

    def deployment(self) -> Deployment:
        """Serve the model version, and wait until it answers."""
        with self.report.step("deployment", "Deploy the model") as step:
            found = self._deployment_there_is()
            if found is None or found.model_ref != self.result.model_version or not found.enabled:
                found = self.hub.deployments.apply(
                    self.result.project,
                    {
                        "name": showcase.DEPLOYMENT,
                        "model": self.result.model_version,
                        "sample": showcase.sample(),
                    },
                )
            found = self.hub.deployments.wait(found.id, told=lambda now: step.say(now.state))
            self.result.deployment, self.result.endpoint = found.id, found.endpoint
            if found.state != "Running":
                raise ShowcaseFailed(
                    f"The deployment is {found.state}: {found.message or found.reason}",
                    hint=f"`nablahub deployments show {found.name}` tells more.",
                )
            step.say(f"{found.name} answers")
        deployment: Deployment = found
        return deployment

    def _deployment_there_is(self) -> Deployment | None:
        try:
            found: Deployment = self.hub.deployments.get(
                showcase.DEPLOYMENT, project_id=self.result.project
            )
        except NotFound:
            return None
        return found

    def prediction(self, deployment: Deployment) -> None:
        """Ask for a prediction over HTTP through the public port, with an API key."""
        with self.report.step("prediction", "Ask for a prediction") as step:
            key = self._key(deployment)
            answer = self.hub.deployments.predict(deployment, key, showcase.sample())
            self.result.prediction = {
                output["name"]: output["data"] for output in answer["outputs"]
            }
            step.say(f"it is a {self.result.prediction['label'][0]}")

    def _key(self, deployment: Deployment) -> str:
        """Return the demo's own API key, made once and kept beside the hub's secrets."""
        path = self.state.secrets / "demo_key"
        listed = [k for k in self.hub.deployments.keys(deployment.id) if k.name == KEY_NAME]
        try:
            kept = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            kept = {}
        if any(key.id == kept.get("id") for key in listed):
            return str(kept["key"])
        for lost in listed:  # made by a demo that was killed before it wrote the text down
            self.hub.deployments.revoke_key(deployment.id, lost.id)
        made = self.hub.deployments.create_key(deployment.id, KEY_NAME)
        write_private(path, json.dumps({"id": made.id, "key": made.key}) + "\n")
        return str(made.key)

    def urls(self, run: Run) -> dict[str, str]:
        """Return where to look at everything, in Lab."""
        lab = f"{self.public_url}/hub/user-redirect/lab?nablahub="
        result = self.result
        return {
            "hub": self.public_url,
            "project": f"{lab}project:{result.project}",
            "dataset": f"{lab}dataset:{result.dataset_version.partition(':')[0]}",
            "run": f"{lab}run:{run.workflow_id}/{run.number}",
            "model": f"{lab}model:{result.model_version.partition(':')[0]}",
            "deployment": f"{lab}deployment:{result.deployment}",
        }


def _environment_progress(step: Step, index: int, count: int) -> Callable[[str, int, int], None]:
    def told(words: str, done: int, total: int) -> None:
        step.announce(words)
        step.at(index + done / max(total, 1), count)

    return told


def _show_run(step: Step, run: Run) -> None:
    ended = [job for job in run.jobs if job.state in ENDED]
    step.at(len(ended), len(run.jobs))
    current = next((job for job in run.jobs if job.state not in ENDED), None)
    step.say(f"{current.name}: {current.state}" if current else run.state)


def _log_hint(run: Run) -> str:
    failed = next((job for job in run.jobs if job.state in ("Failed", "Error")), None)
    if failed is None or failed.job_id is None:
        return f"`nablahub workflows status {run.workflow_id} {run.number}` tells more."
    return f"`nablahub jobs logs {failed.job_id}` shows what {failed.name} wrote."
