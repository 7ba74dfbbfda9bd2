"""What one client may take of the server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may take.

    Parameters
    ----------
    body
        Bytes of a request's body.
    head
        Bytes of the request line and headers together.
    url
        Bytes of the request's target.
    head_seconds
        Time for a request's head to come.
    body_seconds, body_rate
        Time for a body to come: so many seconds, and one more for each ``body_rate`` bytes.
    idle_seconds
        How long an unused connection is kept; longer than Traefik's 90 s, so that Traefik is
        the one to close it and never sends a request into a connection that is going away.
    write_seconds
        How long a client may take to read an answer.
    linger_seconds
        How long the rest of a refused body is read and dropped.
    connections
        Connections at a time.
    pipelined
        Requests waiting on one connection.
    """

    body: int = 32 * 1024 * 1024
    head: int = 32 * 1024
    url: int = 8 * 1024
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    body_rate: float = 16 * 1024
    idle_seconds: float = 120.0
    write_seconds: float = 30.0
    linger_seconds: float = 2.0
    connections: int = 1024
    pipelined: int = 32
