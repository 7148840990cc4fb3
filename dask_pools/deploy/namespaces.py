"""Hide directories from this process with a mount namespace of its own (Linux, root).

In its own namespace the process sees, in the place of each hidden directory, one that is
empty for ever: whatever is opened or made under it fails with ENOENT, as it does on a
machine where the data is not. The kernel does this, so it holds for every reader: C
libraries, memory maps, and the processes that this one starts.

Standard library only: the file is also run as a script, in a child process, to find out
whether the kernel lets us (a container's root often lacks the capability).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

# Of <sched.h> and <sys/mount.h>; Python has os.unshare since 3.12, and no mount at all.
_CLONE_NEWNS = 0x00020000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SLAVE = 0x80000

#: Seconds after which the trial in a child process is given up; it takes a few hundredths.
_TRIAL_TIMEOUT = 30.0


def hide(directories: Collection[str]) -> None:
    """Hide directories from the calling thread, and from all threads it makes from now on.

    Threads which are there already keep on seeing everything, so this comes before any
    thread that runs tasks. It cannot be undone.

    Parameters
    ----------
    directories : collection of str
        Absolute paths of directories that exist.

    Raises
    ------
    OSError
        If the kernel refuses, or a directory is not there. Some of the directories may be
        hidden already: the process should end.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _check("unshare", libc.unshare(_CLONE_NEWNS))
    # Slave, not private: mounts made later by the machine (autofs) still arrive here, but
    # ours never leave.
    _mount(libc, None, "/", _MS_REC | _MS_SLAVE)
    void = tempfile.mkdtemp(prefix="dask-pools-void-")
    try:
        for directory in directories:
            _mount(libc, void, directory, _MS_BIND)
    finally:
        # A removed directory stays mounted, and nothing can be made in it any more.
        Path(void).rmdir()
    for directory in directories:
        if os.listdir(directory):  # noqa: PTH208 - no Path: `guard` and C see strings, so do we
            raise OSError(f"{directory!r} is still visible after a directory was mounted on it")


def why_unavailable() -> str | None:
    """Say why this process could not start one that hides directories; None if it could.

    It is tried out in a child process, because capabilities, seccomp filters and the kernel's
    settings all have a say.
    """
    if not sys.platform.startswith("linux"):
        return f"mount namespaces are a feature of Linux, and this is {sys.platform}"
    with tempfile.TemporaryDirectory(prefix="dask-pools-trial-") as directory:
        Path(directory, "visible").touch()
        try:
            trial = subprocess.run(  # noqa: S603 - this very file, in the interpreter that runs
                [sys.executable, "-I", __file__, directory],
                capture_output=True,
                text=True,
                timeout=_TRIAL_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"a trial in a child process did not end within {_TRIAL_TIMEOUT:g} s"
    if trial.returncode == 0:
        return None
    return (trial.stderr.strip() or f"a trial ended with {trial.returncode}").splitlines()[-1]


def _mount(libc: ctypes.CDLL, source: str | None, target: str, flags: int) -> None:
    result = libc.mount(
        None if source is None else os.fsencode(source),
        os.fsencode(target),
        None,
        ctypes.c_ulong(flags),
        None,
    )
    _check("mount", result, target)


def _check(call: str, result: int, path: str | None = None) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}", path)


if __name__ == "__main__":
    hide(sys.argv[1:])
