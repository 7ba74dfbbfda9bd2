"""What an S3 says when it refuses, as sentences for people.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import botocore.exceptions as boto
import obstore.exceptions as obs

from nablahub.core.store_errors import Reason
from nablahub.core.storesettings import StorePlace

_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_STATUS: Final = re.compile(r"status code: ([345]\d\d)")
_MESSAGE: Final = re.compile(r"<Message>([^<]{1,300})</Message>")


def _by_code(code: str, said: str, place: StorePlace) -> Reason:
    bucket = place.bucket
    known: dict[str, Reason] = {
        "InvalidAccessKeyId": Reason(
            "The object store does not know the access key.",
            "Copy it again, and see that it belongs to this endpoint.", "access_key",
        ),
        "SignatureDoesNotMatch": Reason(
            "The secret key is not the one that belongs to the access key.",
            "Copy it again; it is shown only when a key is made.", "secret_key",
        ),
        "NoSuchBucket": Reason(
            f"The object store has no bucket '{bucket}'.",
            "Make it there first, or correct its name.", "bucket",
        ),
        "AccessDenied": Reason(
            f"The keys may not do this in the bucket '{bucket}': they need to list it, and to "
            "read, write and delete its objects.",
            "Give the account those rights, or name another bucket.", "access_key",
        ),
        "AddressRefused": Reason(
            said, "An administrator can allow that by the setting allow_private_addresses.",
            "endpoint",
        ),
        "RequestTimeTooSkewed": Reason(
            "The clocks of the hub and of the object store differ too much (S3 allows 15 minutes).",
            "Set the clock of the one that is wrong, best by NTP.",
        ),
        "AuthorizationHeaderMalformed": Reason(
            f"The bucket '{bucket}' is in another region than '{place.region}': {said}",
            "Give the region of the bucket.", "region",
        ),
    }  # fmt: skip
    same = {
        "AllAccessDisabled": "AccessDenied", "AccountProblem": "AccessDenied",
        "403": "AccessDenied", "Forbidden": "AccessDenied", "404": "NoSuchBucket",
        "InvalidBucketName": "NoSuchBucket", "301": _REGION,
        "PermanentRedirect": _REGION, "IllegalLocationConstraintException": _REGION,
        "InvalidToken": "InvalidAccessKeyId", "RequestExpired": "RequestTimeTooSkewed",
        "InvalidAccessKey": "InvalidAccessKeyId",
    }  # fmt: skip
    found = known.get(same.get(code, code))
    if found is not None:
        return found
    busy = code in ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout") or (
        code[:1] == "5"
    )
    return Reason(
        f"The object store at {_where(place)} answered {code}: {said.strip() or 'nothing more'}",
        "Try again in a while." if busy else "Its administrator can tell what that means.",
        away=busy,
    )


_REGION: Final = "AuthorizationHeaderMalformed"


def _where(place: StorePlace) -> str:
    return place.endpoint or "Amazon S3"


def _unreachable(place: StorePlace, why: str) -> Reason:
    return Reason(
        f"Nothing answers at {_where(place)}{why}.",
        "Is the endpoint right, is the store running, and does a firewall stand between?",
        "endpoint", away=True,
    )  # fmt: skip


def reason(error: Exception, place: StorePlace) -> Reason:
    """Return why a call failed.

    Parameters
    ----------
    error : Exception
        What botocore or obstore raised.
    place : StorePlace
        Which store was asked.
    """
    if isinstance(error, boto.ClientError):
        told = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        return _by_code(str(told.get("Code") or status), str(told.get("Message", "")), place)
    if isinstance(error, boto.SSLError):
        return _certificate(place, str(error))
    if isinstance(error, boto.HTTPClientError | boto.EndpointConnectionError):
        late = isinstance(error, boto.ConnectTimeoutError | boto.ReadTimeoutError)
        return _unreachable(place, " in time" if late else "")
    text = str(error)
    if code := _CODE.search(text):
        message = _MESSAGE.search(text)
        return _by_code(code[1], message[1] if message else "", place)
    if status := _STATUS.search(text):  # The answer to a HEAD has no words.
        return _by_code(status[1], "", place)
    if "certificate" in text or "InvalidContentType" in text:
        return _certificate(place, text.splitlines()[0][-200:])
    return _unreachable(place, "")


def _certificate(place: StorePlace, said: str) -> Reason:
    if "WRONG_VERSION_NUMBER" in said or "InvalidContentType" in said:
        sentence = f"{_where(place)} does not speak TLS."
        return Reason(sentence, "Write http:// if the store is not encrypted.", "endpoint")
    return Reason(
        f"The certificate of {_where(place)} is not trusted: {said}",
        "Let the store use a certificate of a known authority, or make its authority known to the "
        "machine of the hub (SSL_CERT_FILE).", "endpoint",
    )  # fmt: skip


@contextmanager
def told(place: StorePlace) -> Iterator[None]:
    """Turn what the libraries raise into sentences; FileNotFoundError stays what it is.

    Raises
    ------
    StoreAway, StoreRefused
    """
    try:
        yield
    except (obs.BaseError, boto.BotoCoreError, boto.ClientError) as error:
        raise reason(error, place).error() from error
