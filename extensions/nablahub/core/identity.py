"""Who one is inside a sandbox: the `/etc` that is seen there."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from pathlib import Path

USER = "nabla"
UID = 1000
HOME = f"/home/{USER}"
HOSTNAME = "nablahub"
#: Where servers see the materialised versions of their user's teams, in a folder for each.
CACHE = "/opt/nablahub/cache"
#: The folder of a cache that all servers see; no team has such an id.
PUBLIC = "public"
#: Where a cluster's servers see the names of what is cached: `<team>/<dataset>/<version>`.
NAMES = "/opt/nablahub/names"
#: Where servers make the links that they show as `/datasets`.
MOUNTS = "/opt/nablahub/mounts"
#: Where servers see folders of buckets: below `read` and `write`.
BUCKETS = "/opt/nablahub/buckets"

# The pieces of /etc that programs need and that tell nothing about who else uses the machine. They
# are copied into one folder and shown by one mount, since each mount costs every sandbox; those
# that change while the machine runs are mounted on top of it.
_ETC_COPIED = (
    "alternatives",
    "fonts",
    "gai.conf",
    "host.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "protocols",
    "services",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)
#: Mounted from the machine's own.
LIVE = ("resolv.conf", "ssl/certs", "pki/ca-trust", "pki/tls")


def write_identity(folder: Path, *, user: str = USER, home: str = HOME) -> Path:
    """Make the `/etc` of sandboxes, which says who one is inside; cheap when there is one.

    Parameters
    ----------
    folder
        Where to keep it; made when missing. An older one in it stays for who still runs with it.
    user
        The name of uid 1000 inside.
    home
        Its home directory inside.

    Returns
    -------
    Path
        What to pass as `Sandbox.identity`: a folder in `folder` named after its content.
    """
    digest = hashlib.sha256(f"{user}\0{home}".encode())
    for name in ("hosts", *_ETC_COPIED, *LIVE):
        with contextlib.suppress(OSError):
            status = Path("/etc", name).stat()
            digest.update(f"{name}\0{status.st_mtime_ns}\0{status.st_size}\0".encode())
    target = folder / f"etc-{digest.hexdigest()[:16]}"
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = Path(tempfile.mkdtemp(dir=folder, prefix=".etc-"))
    made.chmod(0o755)
    _copy_etc(made)
    for name, text in _identity_files(user, home).items():
        (made / name).write_text(text)
    try:
        made.rename(target)
    except OSError:  # Somebody else made the same one meanwhile.
        shutil.rmtree(made)
    return target


def _identity_files(user: str, home: str) -> dict[str, str]:
    try:
        hosts = Path("/etc/hosts").read_text(errors="replace")
    except OSError:
        hosts = "127.0.0.1 localhost\n::1 localhost\n"
    return {
        "passwd": "root:x:0:0:root:/:/usr/sbin/nologin\n"
        f"{user}:x:{UID}:{UID}:{user}:{home}:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "group": f"root:x:0:\n{user}:x:{UID}:\nnogroup:x:65534:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
        "hosts": f"{hosts.rstrip()}\n127.0.1.1 {HOSTNAME}\n",
    }


def _copy_etc(made: Path) -> None:
    """Copy what is copied of /etc, and make the places where the rest is mounted."""
    for name in _ETC_COPIED:
        source, copy = Path("/etc", name), made / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError, shutil.Error):  # Not ours to read: programs do without.
            if source.is_dir():
                shutil.copytree(source, copy, symlinks=True)
            elif source.exists():
                shutil.copy2(source, copy)
    for name in LIVE:
        source, place = Path("/etc", name), made / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            place.mkdir()
        elif source.exists():
            place.touch()
