"""The edge: one tornado handler serves every declared operation."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy.orm import Session
from tornado import web
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from nablahub.core.context import Context
from nablahub.core.errors import Malformed, NablaError
from nablahub.core.idempotency import Remembered, fingerprint, key_of, owner, recall, remember
from nablahub.core.operations import Call, Operation, Preparation
from nablahub.core.permissions import Principal
from nablahub.service.auth import Authenticator, token_of
from nablahub.service.calls import HttpCall, body_too_large
from nablahub.service.forwarding import Forwarder
from nablahub.service.metrics import NO_ROUTE, Metrics
from nablahub.service.preparing import Preparer
from nablahub.service.problems import (
    CONTENT_TYPE,
    NoSuchMethod,
    document,
    from_validation,
    status_of,
)

log = logging.getLogger(__name__)

_adapter = functools.cache(TypeAdapter)

#: Status, body and headers.
type Answer = tuple[int, str, dict[str, str]]

NOBODY = Principal("", scopes=frozenset())
#: Bytes of a refused body that are read and dropped, so that the client, which may listen only
#: after it has sent all, gets to hear why.
DRAINED = 128 * 1024**2
EDGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


@web.stream_request_body
class EdgeHandler(web.RequestHandler):
    """Finds the operation, checks who asks, runs it, answers.

    The check comes in ``prepare``: a body is not even read before it is known who sends it.
    """

    def initialize(
        self,
        context: Context,
        authenticator: Authenticator,
        preparer: Preparer,
        forwarder: Forwarder,
        metrics: Metrics,
        operations: dict[str, Operation],
    ) -> None:
        """Take what belongs to the route."""
        self.context = context
        self.authenticator = authenticator
        self.preparer = preparer
        self.forwarder = forwarder
        self.metrics = metrics
        self.operations = operations
        self.query: Any = None
        self._buffer = bytearray()
        self._stream: HttpCall | None = None
        self._task: asyncio.Task[Any] | None = None
        self._who = NOBODY
        self._body_arrived = False
        self._refusal: NablaError | None = None
        self._arrived = 0
        self._drained = 0

    def set_default_headers(self) -> None:
        """Set what every answer carries."""
        self.clear_header("Server")
        for name, value in EDGE_HEADERS.items():
            self.set_header(name, value)

    def _operation(self) -> Operation:
        return self.operations[str(self.request.method)]

    async def prepare(self) -> None:
        """Check method, token, scope and query, in this order."""
        method = str(self.request.method)
        if method not in self.operations:
            self._refuse(NoSuchMethod(method, sorted(self.operations)))
            return
        operation = self._operation()
        try:
            if operation.scope is not None:
                token = token_of(self.request.headers.get("Authorization"))
                self._who = await self.authenticator.principal(token)
                self._who.check_scope(operation.scope)
            self._check_length(operation)
            self.query = self._read_query(operation)
        except NablaError as error:
            self._refuse(error)
            return
        if operation.streamed:
            self._stream = HttpCall(self, self._who, dict(self.path_kwargs))
            self._task = asyncio.create_task(self._run_stream(operation, self._stream))

    def _refuse(self, error: NablaError) -> None:
        """Answer when the body is there: an earlier answer costs the connection.

        What is left of a long body is not waited for.
        """
        length = self.request.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) - self._arrived <= DRAINED:
            self._refusal = error
        else:
            self._problem(error)

    def _check_length(self, operation: Operation) -> None:
        settings = self.context.settings
        takes_files = operation.streamed and operation.writes
        limit = settings.max_upload_bytes if takes_files else settings.max_body_bytes
        length = self.request.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > limit:
            raise body_too_large(limit)

    def _read_query(self, operation: Operation) -> Any:
        if operation.query is None:
            return None
        given = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        try:
            return operation.query.model_validate(given)
        except ValidationError as error:
            raise from_validation(error, "query") from error

    async def data_received(self, chunk: bytes) -> None:
        """Take a part of the body; waits while a stream's handler is behind."""
        self._arrived += len(chunk)
        if self._refusal is not None:
            self._drained += len(chunk)
            if self._drained > DRAINED and not self._finished:
                self._problem(self._refusal)
            return
        if self._stream is not None and self._task is not None:
            if not self._stream.body.full():
                self._stream.body.put_nowait(chunk)
                return
            put = asyncio.ensure_future(self._stream.body.put(chunk))
            await asyncio.wait({put, self._task}, return_when=asyncio.FIRST_COMPLETED)
            put.cancel()
            return
        if len(self._buffer) <= self.context.settings.max_body_bytes:
            self._buffer += chunk

    def on_finish(self) -> None:
        """Count the answer."""
        method = str(self.request.method)
        operation = self.operations.get(method)
        route = NO_ROUTE if operation is None else operation.path
        seconds = None
        if operation is not None and not operation.streamed:
            seconds = self.request.request_time()
        self.metrics.answered(method, route, self.get_status(), seconds)

    def on_connection_close(self) -> None:
        """Stop a stream nobody reads any more."""
        if self._task is not None:
            self._task.cancel()

    async def _respond(self, **_path: str) -> None:
        self._body_arrived = True
        if self._refusal is not None:
            self._problem(self._refusal)
            return
        if self._stream is not None and self._task is not None:
            if not self._task.done():
                put = asyncio.ensure_future(self._stream.body.put(None))
                await asyncio.wait({put, self._task}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({self._task})
            if not self._finished and not self._task.cancelled():
                self.finish()
            return
        try:
            status, answer, headers = await self._run()
        except NablaError as error:
            self._problem(error)
            return
        for name, value in headers.items():
            self.set_header(name, value)
        self.set_status(status)
        if status != 204:
            self.set_header("Content-Type", "application/json")
            self.write(answer)
        self.finish()

    get = head = post = put = patch = delete = _respond

    async def _run(self) -> Answer:
        operation = self._operation()
        body = self._read_body(operation)
        database = self.context.database
        prepared = None
        if (prepare := operation.prepare) is not None:
            before = await database.read(lambda session: self._recall(session, operation))
            if before is not None:
                return before
            call = Preparation(
                self._who, self.path_kwargs, self.context, self.request.headers.get("If-Match")
            )
            if inspect.iscoroutinefunction(prepare):
                prepared = await prepare(call, body)
            else:
                prepared = await self.preparer.run(self._who.name, lambda: prepare(call, body))

        def work(session: Session) -> Answer:
            return self._in_transaction(session, operation, body, prepared)

        return await (database.write(work) if operation.writes else database.read(work))

    def _read_body(self, operation: Operation) -> Any:
        if len(self._buffer) > (limit := self.context.settings.max_body_bytes):
            raise body_too_large(limit)
        if operation.body is None:
            return None
        raw = bytes(self._buffer)
        try:
            json.loads(raw)
        except ValueError as error:
            raise Malformed(
                f"The body is not JSON: {_reason(error)}.", hint="Send a JSON object."
            ) from error
        except RecursionError as error:
            raise Malformed("The body is nested too deeply.") from error
        try:
            return _adapter(operation.body).validate_json(raw, strict=True)
        except ValidationError as error:
            raise from_validation(error, "body") from error

    def _key(self, operation: Operation) -> str | None:
        if operation.method != "POST" or not operation.writes:
            return None
        return key_of(self.request.headers)

    def _asked(self) -> str:
        request = self.request
        return fingerprint(str(request.method), request.uri or "", bytes(self._buffer))

    def _recall(self, session: Session, operation: Operation) -> Answer | None:
        """Return what was answered when this request came before."""
        key = self._key(operation)
        before = key and recall(session, owner(self._who), key, self._asked())
        if not before:
            return None
        return before.status, before.answer, {"Idempotent-Replayed": "true"}

    def _in_transaction(
        self, session: Session, operation: Operation, body: Any, prepared: Any
    ) -> Answer:
        before = self._recall(session, operation)
        if before is not None:
            return before
        key = self._key(operation)
        call = Call(
            session=session, who=self._who, path=self.path_kwargs, query=self.query,
            context=self.context, if_match=self.request.headers.get("If-Match"),
            idempotency_key=key, prepared=prepared,
        )  # fmt: skip
        result = operation.handler(call, *([] if operation.body is None else [body]))
        answer, headers = _answer(result)
        headers.update(call.headers)
        if key is not None:
            given = Remembered(operation.status, answer)
            remember(session, owner(self._who), key, self._asked(), given)
        return operation.status, answer, headers

    async def _run_stream(self, operation: Operation, call: HttpCall) -> None:
        if operation.produces is not None and operation.produces != "*/*":
            self.set_header("Content-Type", operation.produces)
        self.set_status(operation.status)
        try:
            if operation.at_leader and self.forwarder.needed:
                await self.forwarder.forward(call, self.request.uri or "")
                return
            result = await operation.handler(call)
            if result is not None:
                answer, headers = _answer(result)
                for name, value in headers.items():
                    self.set_header(name, value)
                self.set_header("Content-Type", "application/json")
                self.write(answer)
        except NablaError as error:
            if self._body_arrived or self._headers_written:
                self._problem(error)
            else:
                self._refuse(error)
        except (StreamClosedError, asyncio.CancelledError):
            log.debug("The client of %s went away", self.request.path)
        except Exception as error:  # noqa: BLE001 - the edge: logged, answered, never lost
            self._crashed(error)

    def _problem(self, error: NablaError) -> None:
        if self._headers_written or self._finished:
            # The answer has begun: cutting the connection is the only way left to say it failed.
            log.warning("%s failed after its answer began: %s", self.request.path, error)
            if isinstance(self.request.connection, HTTP1Connection):
                self.request.connection.close()
            return
        self.clear()
        if not self._body_arrived:
            # The connection ends with this answer: a proxy must not send another request on it.
            self.set_header("Connection", "close")
        self.set_status(status_of(error))
        content_type, text = self._words(error)
        self.set_header("Content-Type", content_type)
        if isinstance(error, NoSuchMethod):
            self.set_header("Allow", ", ".join(error.allowed))
        if status_of(error) == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", 'Bearer realm="nablahub"')
        if status_of(error) == HTTPStatus.SERVICE_UNAVAILABLE:
            self.set_header("Retry-After", "1")
        self.finish(text)

    def _words(self, error: NablaError) -> tuple[str, str]:
        """Return how an error is told: the type of the text, and the text."""
        return CONTENT_TYPE, json.dumps(document(error))

    def _crashed(self, error: BaseException) -> None:
        log.error("%s %s failed", self.request.method, self.request.path, exc_info=error)
        self._problem(
            NablaError(
                "The service failed on this request; nothing was changed by it.",
                hint="It is a fault of ours: service.log has the details.",
            )
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer what tornado itself refuses, and our own faults, as a problem document."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if error is not None and not isinstance(error, web.HTTPError):
            self._crashed(error)
            return
        phrase = HTTPStatus(status_code).phrase
        problem: dict[str, Any] = {
            "type": "about:blank", "title": phrase, "status": status_code,
            "detail": f"The request was not understood: {phrase}.",
            "code": HTTPStatus(status_code).name.lower(),
        }  # fmt: skip
        self.set_header("Content-Type", CONTENT_TYPE)
        if not self._body_arrived:
            self.set_header("Connection", "close")  # as in `_problem`
        self.finish(json.dumps(problem))

    def log_exception(self, *args: Any) -> None:
        """Leave the logging to :meth:`_crashed`."""


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (line {error.lineno}, column {error.colno})"
    return "it is not UTF-8 text"


def _answer(result: Any) -> tuple[str, dict[str, str]]:
    if result is None:
        return "", {}
    headers = {}
    revision = getattr(result, "revision", None)
    if isinstance(revision, int):
        headers["ETag"] = f'"{revision}"'
    text = result.model_dump_json() if isinstance(result, BaseModel) else json.dumps(result)
    return text, headers
