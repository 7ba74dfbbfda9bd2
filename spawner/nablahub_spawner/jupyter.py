"""How Jupyter is set up in every server, be it a sandbox on this machine or a container.

``python -m nablahub_spawner.jupyter FOLDER`` writes it down for an image: the servers of the image
find it by ``JUPYTER_PATH=FOLDER/share/jupyter`` and ``JUPYTER_CONFIG_PATH=FOLDER/etc/jupyter``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nablahub.mounts.view import CACHE_VARIABLE, KIND_VARIABLE, VARIABLE

OPT = "/opt/nablahub"
#: Where code that runs in other environments finds our package, and nothing else.
LIB = f"{OPT}/lib"
KERNEL_ENVIRONMENT = f"{OPT}/environments/default"
DATA = f"{OPT}/share/jupyter"
CONFIG = f"{OPT}/etc/jupyter"
BIN = f"{OPT}/bin"
DATASETS = "/datasets"

#: Kernels talk over sockets in a private folder: ports of the loopback are everybody's.
SERVER_CONFIG: Mapping[str, Any] = {
    "KernelManager": {"transport": "ipc"},
    "LabApp": {
        "news_url": None,
        "check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate",
    },
    # Else it runs npm at each start, where there is one, to ask where its packages would be.
    "LanguageServerManager": {"node_roots": [sys.prefix]},
    "ServerApp": {"terminado_settings": {"shell_command": ["/bin/bash"]}},
}

#: Lab asks each new user whether it may fetch news, unless its settings answer for them.
LAB_SETTINGS: Mapping[str, Any] = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}
}


def mount_variables(folder: str, cache: str, kind: str = "folder") -> dict[str, str]:
    """Return the variables by which a server's processes mount versions.

    Parameters
    ----------
    folder, cache : str
        Where they make links, and where the trees of the user's teams lie, as they see it.
    kind : str
        ``folder`` of the service's machine, or ``claim`` of a cluster.
    """
    return {VARIABLE: folder, CACHE_VARIABLE: cache, KIND_VARIABLE: kind}


def write_config(folder: Path) -> None:
    """Write the server's and Lab's settings into a folder of ``JUPYTER_CONFIG_PATH``."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    (folder / "jupyter_server_config.json").write_text(json.dumps(SERVER_CONFIG))
    lab = folder / "labconfig"
    lab.mkdir(mode=0o755, exist_ok=True)
    (lab / "default_setting_overrides.json").write_text(json.dumps(LAB_SETTINGS))


def kernelspec(python: str, lib: str) -> dict[str, Any]:
    """Return the description of the default kernel.

    Parameters
    ----------
    python, lib : str
        Its interpreter, and the folder of our package, as the server sees them.
    """
    return {
        "argv": [
            python,
            "-Xfrozen_modules=off",
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
        ],
        "display_name": "Python 3",
        "language": "python",
        "metadata": {"debugger": True},
        "env": {"PYTHONPATH": lib},
    }


def package_folder(name: str) -> Path:
    """Return where a package lies, without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    return Path(spec.origin).parent


def settle(opt: Path) -> None:
    """Write what an image's servers need into its folder of ours.

    Parameters
    ----------
    opt : pathlib.Path
        The folder, with the kernel's environment in ``environments/default``.
    """
    write_config(opt / "etc" / "jupyter")
    kernel = opt / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True, exist_ok=True)
    spec = kernelspec(str(opt / "environments" / "default" / "bin" / "python"), str(opt / "lib"))
    (kernel / "kernel.json").write_text(json.dumps(spec))
    (opt / "lib").mkdir(exist_ok=True)
    (opt / "lib" / "nablahub").symlink_to(package_folder("nablahub"))


if __name__ == "__main__":
    settle(Path(sys.argv[1]))
