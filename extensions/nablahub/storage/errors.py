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
