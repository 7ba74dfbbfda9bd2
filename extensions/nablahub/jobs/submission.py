"""What is checked when a job is submitted: everything that can be known before it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session

from nablahub.core.environments import TABLE, UnknownEnvironment, resolve
from nablahub.core.errors import Fault, Invalid, NablaError
from nablahub.core.instances import InstanceType, LiveCatalogue, Machine, suggestion
from nablahub.core.permissions import Principal
from nablahub.jobs.data import Committer, Materialiser
from nablahub.jobs.errors import (
    InstanceNotAllowed,
    InstanceTooBig,
    InvalidJob,
    OneMachine,
    UnknownInstanceType,
)
from nablahub.jobs.grounds import Ground
from nablahub.jobs.types import Input, JobSpec, Output
from nablahub.storage.service import StorageService

POINTER = "/instance_type"


class Submission:
    """Checks one submitted job and pins its references.

    Parameters
    ----------
    ground : Ground
        What jobs run on.
    instances : LiveCatalogue
        The instance types.
    sources : mapping of str to Materialiser
        Who resolves references, by the kind of input.
    committer : Committer
        Who makes datasets for outputs.
    storage : StorageService
        Who knows the buckets of teams.
    """

    def __init__(
        self,
        ground: Ground,
        instances: LiveCatalogue,
        sources: Mapping[str, Materialiser],
        committer: Committer,
        storage: StorageService,
    ) -> None:
        self._storage = storage
        self._ground = ground
        # A cluster decides by itself what fits.
        self._machine = None if ground.endless else ground.machine
        self._instances = instances
        self._sources = sources
        self._committer = committer

    def pin(
        self, session: Session, who: Principal, team_id: str, spec: JobSpec, *, owned: bool
    ) -> tuple[JobSpec, InstanceType]:
        """Return the spec with every reference replaced by what it means now, and what it gets.

        Parameters
        ----------
        who : Principal
            Who submits.
        team_id : str
            Whose job it is.
        owned : bool
            Whether another slice submits it as part of something; only those may mount volumes
            and keys, whose names they make up. They have asked themselves whether its user may
            take the instance type.

        Raises
        ------
        NablaError
            The one thing that is wrong, or :class:`InvalidJob` with all of them.
        """
        errors: list[NablaError] = []
        given: list[InstanceType] = []
        checks: list[Callable[[], object]] = [
            lambda: check_environment(spec.environment, self._ground.images),
            lambda: given.append(self._instance(None if owned else who, spec)),
            lambda: _check_tools(spec.tools),
            lambda: _check_files(spec),
            lambda: _check_names(spec),
            lambda: self._check_nodes(spec),
            lambda: _check_scale(spec, self._ground),
        ]
        for check in checks:
            try:
                check()
            except NablaError as error:
                errors.append(error)
        inputs: list[Input] = []
        for index, item in enumerate(spec.inputs):
            try:
                inputs.append(self._input(session, who, index, item, owned))
            except NablaError as error:
                errors.append(error)
        if errors:
            raise InvalidJob.of(errors)
        outputs: list[Output] = []
        for index, output in enumerate(spec.outputs):
            outputs.append(self._output(session, who, team_id, spec, (index, output), owned))
        return spec.model_copy(update={"inputs": inputs, "outputs": outputs}), given[0]

    def _instance(self, who: Principal | None, spec: JobSpec) -> InstanceType:
        """Return the instance type of a spec's name.

        Raises
        ------
        UnknownInstanceType
            There is none of that name.
        InstanceNotAllowed
            It is not for that user, or not for servers.
        InstanceTooBig
            The machine has less; the error says what fits.
        """
        types, asked, serves = self._instances.types, spec.instance_type, spec.kind == "serve"

        def fits() -> str:
            usable = [kind for kind in types.values() if not_for(kind, who, serves=serves) is None]
            best = suggestion(self._machine, usable)
            return f"{best.name} fits ({best.summary})." if best else "No instance type fits here."

        found = types.get(asked)
        if found is None:
            hint = f"{fits()} All: {', '.join(types)}." if types else fits()
            raise UnknownInstanceType(
                f"There is no instance type {asked!r}.",
                errors=[Fault("Unknown instance type.", POINTER, hint=hint)],
            )
        reason = not_for(found, who, serves=serves)
        if reason is not None:
            raise InstanceNotAllowed(
                f"The instance type {asked} is not to be had: {reason}",
                errors=[Fault(reason, POINTER, hint=fits())],
            )
        reason = found.fits(self._machine) if self._machine is not None else None
        if reason is not None:
            raise InstanceTooBig(
                f"The instance type {asked} is too big for this machine: {reason}",
                errors=[Fault(reason, POINTER, hint=fits())],
            )
        return found

    def _check_nodes(self, spec: JobSpec) -> None:
        if spec.nodes == 1:
            return
        for index, given in enumerate(spec.inputs):
            if not given.read_only:
                raise Invalid(
                    "A job of several nodes mounts buckets read-only.",
                    errors=[Fault("Each node has a copy of its own.", f"/inputs/{index}/read_only",
                                  hint="Leave what it makes in /outputs.")],
                )  # fmt: skip
        if spec.kind == "serve":
            raise Invalid(
                "A server runs on one node.",
                errors=[Fault("Not for servers.", "/nodes", hint="A deployment has replicas.")],
            )
        if not self._ground.endless:
            raise OneMachine(spec.nodes)

    def _input(
        self, session: Session, who: Principal, index: int, given: Input, owned: bool
    ) -> Input:
        if given.kind == "bucket":
            return self._bucket(session, who, index, given)
        if given.kind in ("volume", "keys", "public"):
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

    def _bucket(self, session: Session, who: Principal, index: int, given: Input) -> Input:
        try:
            found = self._storage.folder(session, who, given.ref, read_only=given.read_only)
        except NablaError as error:
            error.errors = (Fault(error.detail, f"/inputs/{index}/ref", hint=error.hint),)
            raise
        return given.model_copy(update={"ref": str(found)})

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


def check_environment(
    asked: str, images: frozenset[str] | None = None, pointer: str = "/environment"
) -> str:
    """Return the environment that answers to a name or image.

    Parameters
    ----------
    images : frozenset of str or None
        The environments there are; None for all of the table.

    Raises
    ------
    UnknownEnvironment
        None answers to it.
    """
    name = resolve(asked) or asked
    if name not in (TABLE if images is None else images) or (
        name in TABLE and not TABLE[name].jobs
    ):
        raise UnknownEnvironment(asked, pointer=pointer, images=images)
    return name


def not_for(kind: InstanceType, who: Principal | None, *, serves: bool) -> str | None:
    """Return None when an instance type may be taken, else why not, as a sentence.

    Parameters
    ----------
    who : Principal or None
        Who asks; None when that was asked before, in their name.
    serves : bool
        Whether it is for a server that shall never end.
    """
    if serves and kind.max_hours is not None:
        return f"It runs {kind.limits.partition(',')[0]}, and a deployment does not end by itself."
    return None if who is None else kind.kept_from(who.name, who.groups)


def why_not(
    kind: InstanceType, who: Principal | None, machine: Machine | None, *, serves: bool = False
) -> str | None:
    """Return None when an instance type can be had, else why not: :func:`not_for`, or its size."""
    reason = not_for(kind, who, serves=serves)
    return kind.fits(machine) if reason is None and machine is not None else reason


def _check_owned(kind: str, pointer: str, owned: bool) -> None:
    if not owned:
        raise Invalid(
            f"A job of its own cannot mount a {kind}.",
            errors=[Fault(f"{kind} belongs to the hub's own work.", f"{pointer}/kind")],
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
    named = {
        "inputs": [f"{i.at}/{i.name}" for i in spec.inputs],
        "outputs": [o.name for o in spec.outputs],
    }
    for field, names in named.items():
        for index, name in enumerate(names):
            if name in names[:index]:
                raise Invalid(
                    f"Two {field} are called {name.removeprefix('inputs/')!r}.",
                    errors=[Fault("The name is taken.", f"/{field}/{index}/name")],
                )
    if spec.kind == "serve" and any(given.kind == "bucket" for given in spec.inputs):
        raise Invalid(
            "A server does not mount buckets.", errors=[Fault("Not for servers.", "/inputs")]
        )
    if spec.kind == "serve" and (spec.outputs or spec.timeout_seconds):
        raise Invalid(
            "A server never ends by itself: it has no outputs and no timeout.",
            errors=[Fault("Not for servers.", "/outputs" if spec.outputs else "/timeout_seconds")],
        )


def _check_scale(spec: JobSpec, ground: Ground) -> None:
    """Refuse more servers than one, and who makes them, where that is not for us to say."""
    if not ground.several and (spec.scale.most > 1 or spec.maker != "deployment"):
        raise Invalid(
            "On one machine a job of the kind `serve` is one server.",
            errors=[Fault("Only on a cluster.", "/scale", hint="Leave it out.")],
        )
