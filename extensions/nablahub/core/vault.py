"""Secrets at rest: encrypted with keys that lie beside the database and not in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy.orm import Session

from nablahub.core.errors import NablaError

NAME: Final = "encryption_keys"


class SecretLost(NablaError):
    """A stored secret cannot be read any more."""

    code = "secret_lost"
    title = "A stored secret cannot be read"


@runtime_checkable
class KeepsSecrets(Protocol):
    """A service with encrypted secrets in its tables."""

    def rotate_secrets(self, session: Session, vault: Vault) -> int:
        """Encrypt them with the newest key and return how many there are."""


class Vault:
    """Encrypts and decrypts short texts (Fernet: AES-128-CBC and HMAC-SHA256).

    The key file holds a key on each line, the newest first: the first encrypts, all decrypt. It is
    made when the first secret is stored; whoever backs up the database backs it up too.

    Parameters
    ----------
    file : pathlib.Path
        The key file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def _keys(self) -> list[str]:
        try:
            return self._file.read_text().split()
        except FileNotFoundError:
            return []

    def _fernet(self) -> MultiFernet:
        keys = self._keys()
        if not keys:
            raise SecretLost(
                f"The file of encryption keys, {self._file}, is gone or empty.",
                hint="Bring it back from a backup, or enter the secrets anew.",
            )
        return MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, text: str) -> str:
        """Return a text encrypted with the newest key, making one if there is none."""
        if not self._keys():
            self._write([Fernet.generate_key().decode()])
        return self._fernet().encrypt(text.encode()).decode()

    def decrypt(self, token: str) -> str:
        """Return an encrypted text; SecretLost when no key of the file opens it."""
        try:
            return self._fernet().decrypt(token.encode()).decode()
        except InvalidToken as error:
            raise SecretLost(
                f"None of the keys in {self._file} opens a stored secret.",
                hint="Bring the file back from a backup, or enter the secret anew.",
            ) from error

    def add_key(self) -> None:
        """Make a new key, which encrypts from now on; the older ones stay."""
        self._write([Fernet.generate_key().decode(), *self._keys()])

    def rotate(self, token: str) -> str:
        """Return the same secret, encrypted with the newest key."""
        try:
            return self._fernet().rotate(token.encode()).decode()
        except InvalidToken:
            return token  # It is lost already; whoever needs it is told so by `decrypt`.

    def drop_old_keys(self) -> None:
        """Keep the newest key alone; every secret must have been rotated."""
        self._write(self._keys()[:1])

    def _write(self, keys: list[str]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:  # noqa: PTH123 (it is a descriptor)
            file.write("\n".join(keys) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._file)
