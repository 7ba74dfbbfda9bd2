"""``python -m nablahub.serving``: serve one model on a port of this machine."""

import argparse
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

import uvloop

from nablahub.serving.limits import Limits
from nablahub.serving.loading import FORMATS
from nablahub.serving.server import Options, serve


def parse(arguments: list[str], environment: dict[str, str]) -> Options:
    """Read the command line; ``$HOST`` and ``$PORT`` are the address where none is given.

    ``$HEALTH_PORT`` is the port of health, if there is to be one. ``$NABLAHUB_MESSAGE_FILE`` is
    where a job leaves its last words.
    """
    parser = argparse.ArgumentParser(prog="python -m nablahub.serving", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="file or folder of the model")
    parser.add_argument("--name", help="name in the routes (default: the path's last part)")
    parser.add_argument("--model-version", default="1", help="version in the routes")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="onnx",
        help="sklearn and custom run code out of the model's files",
    )
    parser.add_argument(
        "--keys", type=Path, required=True, help="keys.json, or the folder that holds it"
    )
    parser.add_argument("--host", default=environment.get("HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(environment.get("PORT", "8080")))
    parser.add_argument("--threads", type=int, default=1, help="threads of one prediction")
    parser.add_argument("--max-body", type=int, default=Limits().body, help="bytes of a request")
    parser.add_argument("--drain", type=float, default=10.0, help="seconds after SIGTERM")
    parser.add_argument(
        "--linger", type=float, default=1.0, help="seconds after SIGTERM for idle connections"
    )
    parser.add_argument(
        "--health-port",
        type=int,
        default=int(environment["HEALTH_PORT"]) if "HEALTH_PORT" in environment else None,
        help="tells /live and /ready there without a key",
    )
    parser.add_argument("--timeouts", type=float, help="seconds, for each of a client's time-outs")
    given = parser.parse_args(arguments)
    limits = Limits(body=given.max_body)
    if given.timeouts is not None:
        names = ("head_seconds", "body_seconds", "idle_seconds", "write_seconds")
        limits = replace(limits, **dict.fromkeys(names, given.timeouts))
    message_file = environment.get("NABLAHUB_MESSAGE_FILE")
    return Options(
        model=given.model,
        name=given.name or given.model.stem,
        version=given.model_version,
        kind=given.format,
        keys=given.keys,
        host=given.host,
        port=given.port,
        threads=max(1, given.threads),
        drain_seconds=given.drain,
        linger_seconds=given.linger,
        health_port=given.health_port,
        limits=limits,
        message_file=Path(message_file) if message_file else None,
    )


def main() -> None:
    """Run the server, and exit with its code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    options = parse(sys.argv[1:], dict(os.environ))
    sys.exit(uvloop.run(serve(options)))


if __name__ == "__main__":
    main()
