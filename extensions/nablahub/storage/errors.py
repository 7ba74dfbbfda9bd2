"""What can be wrong with storage providers."""

from __future__ import annotations

from nablahub.core.errors import Conflict, Fault, Invalid, NotFound
from nablahub.core.store_errors import Reason


class NoSuchProvider(NotFound):
    """No such provider, or not for you."""

    code = "no_such_storage_provider"

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"There is no storage provider '{ref}'.",
            hint="`nablahub storage list` shows those there are.",
        )


class ProviderNameTaken(Conflict):
    """Names are unique in their team."""

    code = "storage_provider_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The team has a storage provider called '{name}' already.",
            errors=[Fault("The name is taken.", "/name", hint="Choose another, or use that one.")],
        )


class OtherStore(Conflict):
    """The hub's setting names another store than the one that its datasets lie in."""

    code = "other_object_store"

    def __init__(self, holds: str, here: str, named: str) -> None:
        super().__init__(
            f"{holds[0].upper()}{holds[1:]} of this hub lie in {here or 'the state directory'}, "
            f"and c.NablaHub.object_store names {named or 'the state directory'}.",
            hint="Set it back; copy what is there first if it shall lie elsewhere, and write the "
            "new address into service/object-store.",
        )


class StoreKeysMissing(Invalid):
    """The keys to the hub's own store are nowhere."""

    code = "object_store_keys_missing"


class ProviderInUse(Conflict):
    """Data lies there."""

    code = "storage_provider_in_use"

    def __init__(self, name: str, holds: str, what: str) -> None:
        super().__init__(
            f"The storage provider '{name}' holds {holds}, so it can't be {what}.",
            hint="Delete those first, or make another provider.",
        )


class ProviderFails(Invalid):
    """It was tried out and does not work."""

    code = "storage_provider_fails"

    def __init__(self, why: Reason) -> None:
        pointer = f"/{why.field}" if why.field else ""
        super().__init__(
            why.sentence,
            hint=why.hint,
            errors=[Fault(why.sentence, pointer)] if pointer else (),
        )
