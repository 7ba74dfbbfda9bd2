"""What is checked when a job is submitted: everything that can be known before it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session

from nablahub.core.environments import TABLE, UnknownEnvironment, resolve
from nablahub.core.errors import Fault, Invalid, NablaError
from nablahub.core.instances import CATALOGUE, InstanceType, Machine, suggestion
from nablahub.core.permissions import Principal
from nablahub.jobs.data import Committer, Materialiser
from nablahub.jobs.errors import InstanceTooBig, InvalidJob, UnknownInstanceType
from nablahub.jobs.types import Input, JobSpec, Output


class Submission:
    """Checks one submitted job and pins its references.

    Parameters
    ----------
    machine : Machine
        What jobs run on.
    sources : mapping of str to Materialiser
        Who resolves references, by the kind of input.
    committer : Committer
        Who makes datasets for outputs.
    """

    def __init__(
        self, machine: Machine, sources: Mapping[str, Materialiser], committer: Committer
    ) -> None:
        self._machine = machine
        self._sources = sources
        self._committer = committer

    def pin(
        self, session: Session, who: Principal, team_id: str, spec: JobSpec, *, owned: bool
    ) -> JobSpec:
        """Return the spec with every reference replaced by what it means now.

        Parameters
        ----------
        who : Principal
            Who submits.
        team_id : str
            Whose job it is.
        owned : bool
            Whether another slice submits it as part of something; only those may mount volumes
            and keys, whose names they make up.

        Raises
        ------
        NablaError
            The one thing that is wrong, or :class:`InvalidJob` with all of them.
        """
        errors: list[NablaError] = []
        checks: list[Callable[[], object]] = [
            lambda: check_environment(spec.environment),
            lambda: check_instance(spec.instance_type, self._machine),
            lambda: _check_tools(spec.tools),
            lambda: _check_files(spec),
            lambda: _check_names(spec),
        ]
        for check in checks:
            try:
                check()
            except NablaError as error:
                errors.append(error)
        inputs: list[Input] = []
        for index, given in enumerate(spec.inputs):
            try:
                inputs.append(self._input(session, who, index, given, owned))
            except NablaError as error:
                errors.append(error)
        if errors:
            raise InvalidJob.of(errors)
        outputs: list[Output] = []
        for index, output in enumerate(spec.outputs):
            outputs.append(self._output(session, who, team_id, spec, (index, output), owned))
        return spec.model_copy(update={"inputs": inputs, "outputs": outputs})

    def _input(
        self, session: Session, who: Principal, index: int, given: Input, owned: bool
    ) -> Input:
        if given.kind in ("volume", "keys"):
            _check_owned(given.kind, f"/inputs/{index}", owned)
        source = self._sources.get(given.kind)
        if source is None:
            return given
        try:
            found = source.resolve(session, who, given.ref)
        except NablaError as error:
            fault = Fault(error.detail, f"/inputs/{index}/ref", hint=error.hint)
            error.errors = (fault,)
            raise
        return given.model_copy(update={"ref": found.id})

    def _output(
        self,
        session: Session,
        who: Principal,
        team_id: str,
        spec: JobSpec,
        numbered: tuple[int, Output],
        owned: bool,
    ) -> Output:
        index, given = numbered
        if given.kind == "volume":
            _check_owned("volume", f"/outputs/{index}", owned)
        if given.kind != "dataset":
            return given
        name = given.ref.partition(":")[0] or given.name
        row = self._committer.get_or_create(session, team_id, spec.project_id, name, who.name)
        return given.model_copy(update={"ref": row.id})


def check_environment(asked: str, pointer: str = "/environment") -> str:
    """Return the environment that answers to a name or image; UnknownEnvironment when none does."""
    name = resolve(asked)
    if name is None:
        raise UnknownEnvironment(asked, pointer=pointer)
    return name


def check_instance(asked: str, machine: Machine, pointer: str = "/instance_type") -> InstanceType:
    """Return the instance type of a name.

    Raises
    ------
    UnknownInstanceType
        There is none of that name.
    InstanceTooBig
        The machine has less; the error says what fits.
    """
    found = CATALOGUE.get(asked)
    best = suggestion(machine)
    fits = f"{best.name} fits ({best.summary})." if best else "No instance type fits here."
    if found is None:
        known = ", ".join(CATALOGUE)
        raise UnknownInstanceType(
            f"There is no instance type {asked!r}.",
            errors=[Fault("Unknown instance type.", pointer, hint=f"{fits} All: {known}.")],
        )
    reason = found.fits(machine)
    if reason is not None:
        raise InstanceTooBig(
            f"The instance type {asked} is too big for this machine: {reason}",
            errors=[Fault(reason, pointer, hint=fits)],
        )
    return found


def _check_owned(kind: str, pointer: str, owned: bool) -> None:
    if not owned:
        raise Invalid(
            f"A job of its own cannot mount a {kind}.",
            errors=[Fault(f"{kind} belongs to workflows and deployments.", f"{pointer}/kind")],
        )


def _check_tools(tools: list[str]) -> None:
    for index, tool in enumerate(tools):
        if tool not in TABLE:
            raise UnknownEnvironment(tool, pointer=f"/tools/{index}")


def _check_files(spec: JobSpec) -> None:
    for name in spec.files:
        parts = name.split("/")
        if not name or ".." in parts or "" in parts or "\0" in name:
            raise Invalid(
                f"The file name {name!r} leads out of the job's working folder.",
                errors=[Fault("Not a relative path.", "/files", hint="Such as `src/train.py`.")],
            )


def _check_names(spec: JobSpec) -> None:
    named = {"inputs": [i.name for i in spec.inputs], "outputs": [o.name for o in spec.outputs]}
    for field, names in named.items():
        for index, name in enumerate(names):
            if name in names[:index]:
                raise Invalid(
                    f"Two {field} are called {name!r}.",
                    errors=[Fault("The name is taken.", f"/{field}/{index}/name")],
                )
    if spec.kind == "serve" and (spec.outputs or spec.timeout_seconds):
        raise Invalid(
            "A server never ends by itself: it has no outputs and no timeout.",
            errors=[Fault("Not for servers.", "/outputs" if spec.outputs else "/timeout_seconds")],
        )
