"""Several sites on one machine, joined by links of a given speed: a bed for tests and benchmarks.

Each site is a network namespace. Between any two of them runs a wire: a tun device at either
end, and one process that carries packets from the one to the other, as fast as the link's rate
allows and as late as its round trip wants::

    home |to-ecmwf| ~~~ rate, delay, queue ~~~ |to-home| ecmwf

No traffic can leave the machine, and nothing is shared between beds. Nothing is left behind either,
even if the owner is killed: namespaces without names end with their last process, and tun
devices with the process that holds them. The kernel needs no scheduler of packets (netem, tbf).

Bytes are those of IP packets, headers included, as the interfaces at the far ends count them.
It needs Linux, root, /dev/net/tun, iproute2 and util-linux; `why_unavailable` says what is missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import json
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

_TUN = "/dev/net/tun"
#: Of <linux/if_tun.h>: name a device; packets of IP, with nothing before them.
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
#: Of <sched.h>.
_CLONE_NEWNET = 0x40000000
#: Largest packet of a device, and how many are read before others have their turn.
_PACKET, _TURN = 65536, 64
#: Seconds for which a packet may wait for its wire; one that would wait longer is lost.
_QUEUE = 0.05
#: Seconds that processes of a site have to end when they are asked to.
_PATIENCE = 5.0
#: Runs a program unless its owner, the first argument, has ended before it was told of that;
#: shows it empty directories in the place of the next arguments, up to "--".
_ALONE = (
    '[ "$PPID" = "$1" ] || exit; shift; '
    'while [ "$1" != -- ]; do mount -t tmpfs -o size=4k none "$1" || exit; shift; done; '
    'shift; exec "$@"'
)
_PROGRAMS = ("ip", "mount", "nsenter", "setpriv", "unshare")


def why_unavailable() -> str | None:
    """Say why there can be no such bed here; None if there can."""
    if not sys.platform.startswith("linux"):
        return f"network namespaces are a feature of Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "network namespaces and their devices need root"
    if missing := [program for program in _PROGRAMS if shutil.which(program) is None]:
        return f"these programs are missing: {', '.join(missing)}"
    if not Path(_TUN).exists():
        return f"{_TUN} is missing"
    trial = subprocess.run(
        ["unshare", "--net", "--mount", "true"],  # noqa: S607 - wherever the system has it
        capture_output=True,
        text=True,
        check=False,
    )
    return trial.stderr.strip() or None if trial.returncode else None


@dataclass
class Wire:
    """One direction of a link: when a packet arrives that is sent now.

    Parameters
    ----------
    rate : float
        Bytes per second.
    delay : float
        Seconds from end to end.

    Examples
    --------
    >>> wire = Wire(rate=1000, delay=0.25)
    >>> wire.arrival(10.0, 20), wire.arrival(10.0, 20)
    (10.27, 10.29)
    """

    rate: float
    delay: float
    free: float = 0.0

    def arrival(self, now: float, nbytes: int) -> float | None:
        """Send a packet, and say when it arrives; None if it is lost in a full queue."""
        start = max(now, self.free)
        if start - now > _QUEUE:
            return None
        self.free = start + nbytes / self.rate
        return self.free + self.delay


class Wan:
    """Sites and the links between each two of them; a context manager.

    Parameters
    ----------
    sites : sequence of str
        Their names.
    rate : float
        Bytes per second of every link, in either direction.
    round_trip : float
        Seconds there and back.
    """

    def __init__(self, sites: Sequence[str], *, rate: float, round_trip: float) -> None:
        for site in sites:
            if not re.fullmatch("[a-z0-9]{1,12}", site):  # with "to-" the name of a device
                raise ValueError(f"the name of a site is 1 to 12 of a-z and 0-9, not {site!r}")
        self._sites = tuple(sites)
        self._rate, self._delay = rate, round_trip / 2
        #: By site, a process that does nothing but hold its namespace; while the bed is entered.
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Wan:
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as ends:
            for site in self._sites:
                self._holders[site] = undo.enter_context(_namespace())
                undo.callback(_end, self._holders[site])
            wires = [(self._plug(a, b, ends), self._plug(b, a, ends)) for a, b in self._pairs()]
            arguments = [str(self._rate), str(self._delay), json.dumps(wires)]
            carrier = subprocess.Popen(
                [sys.executable, "-I", __file__, *arguments],
                stdin=subprocess.PIPE,
                pass_fds=list(itertools.chain(*wires)),
                start_new_session=True,
            )
            undo.enter_context(carrier)
            undo.callback(_end, carrier)
            self._exit = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.close()
        self._holders.clear()

    def _pairs(self) -> Iterable[tuple[str, str]]:
        return itertools.combinations(self._sites, 2)

    def _plug(self, site: str, peer: str, ends: contextlib.ExitStack) -> int:
        """Make the end of a wire at a site; return what its packets are read from."""
        end = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        ends.callback(os.close, end)
        asked = struct.pack("16sH22x", b"wan%d", _IFF_TUN | _IFF_NO_PI)
        device = fcntl.ioctl(end, _TUNSETIFF, asked)[:16].rstrip(b"\0").decode()
        pid, name = self._holders[site].pid, f"to-{peer}"
        _run("ip", "link", "set", device, "netns", str(pid), "name", name)
        inside = ("nsenter", "--target", str(pid), "--net", "ip")
        ours, theirs = self.address(site), self.address(peer)
        _run(*inside, "address", "add", ours, "peer", theirs, "dev", name)
        _run(*inside, "link", "set", name, "txqueuelen", "2000", "up")
        return end

    def address(self, site: str) -> str:
        """Return the address of a site, under which the others reach it."""
        return f"10.77.0.{self._sites.index(site) + 1}"

    def run(
        self,
        site: str,
        arguments: Sequence[str],
        *,
        hidden: Sequence[str | Path] = (),
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """Start a program at a site; it is ended with the bed at the latest.

        Parameters
        ----------
        site : str
            Where it runs. What it mounts, only it and its children see.
        arguments : sequence of str
            The program and its arguments.
        hidden : sequence of path
            Directories which are empty for it.
        **options
            As for `subprocess.Popen`.
        """
        enter = ["nsenter", "--target", str(self._holders[site].pid), "--net"]
        # Whoever owns the bed may be killed; then all that runs in it ends.
        alone = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "slave"]
        shell = ["sh", "-c", _ALONE, "sh", str(os.getpid()), *map(str, hidden), "--"]
        process = subprocess.Popen(
            [*enter, *alone, *shell, *arguments], start_new_session=True, **options
        )
        self._exit.callback(_end, process)
        return process

    @contextlib.contextmanager
    def inside(self, site: str) -> Iterator[None]:
        """Move this thread to a site: its new sockets, threads and processes are there."""
        with (
            Path("/proc/thread-self/ns/net").open() as here,
            Path(f"/proc/{self._holders[site].pid}/ns/net").open() as there,
        ):
            _move_to(there.fileno())
            try:
                yield
            finally:
                _move_to(here.fileno())

    def nbytes(self) -> dict[tuple[str, str], int]:
        """Return the bytes that have arrived over each link, by the two sites."""
        found = {}
        for target, holder in self._holders.items():
            for source, (received, _) in counters(holder.pid).items():
                found[source, target] = received
        return found


def counters(process: int | str = "self") -> dict[str, tuple[int, int]]:
    """Return the bytes that the site of a process has received and sent, by its peers."""
    found = {}
    for line in Path(f"/proc/{process}/net/dev").read_text().splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if (peer := name.strip().removeprefix("to-")) != name.strip():
            fields = numbers.split()
            found[peer] = int(fields[0]), int(fields[8])
    return found


def _namespace() -> subprocess.Popen[bytes]:
    """Start a process in a network namespace of its own, which ends when nobody holds it."""
    # IPv6 would send words of its own over the links.
    script = (
        "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; "
        "ip link set lo up && echo ready && exec cat"
    )
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", script],  # noqa: S607 - wherever the system has it
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert holder.stdout is not None
    if not holder.stdout.readline():
        raise RuntimeError("no network namespace could be made")
    return holder


def _move_to(namespace: int) -> None:
    """Move this thread to a network namespace; Python has os.setns since 3.12."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def _end(process: subprocess.Popen[Any]) -> None:
    """End a process, and what it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        # Once it has been waited for, its number may be another one's.
        if process.poll() is None:
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)


def carry(pairs: Sequence[tuple[int, int]], rate: float, delay: float) -> None:
    """Carry packets between pairs of devices, until standard input ends."""
    other = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    wires = {end: Wire(rate, delay) for end in other}
    clock = time.monotonic
    under_way: list[tuple[float, int, int, bytes]] = []
    number = itertools.count()
    while True:
        wait = max(0.0, under_way[0][0] - clock()) if under_way else None
        ready, _, _ = select.select([sys.stdin, *other], [], [], wait)
        if sys.stdin in ready:
            return
        for end in ready:
            for packet in _packets(end):
                when = wires[end].arrival(clock(), len(packet))
                if when is not None:
                    heapq.heappush(under_way, (when, next(number), other[end], packet))
        now = clock()
        while under_way and under_way[0][0] <= now:
            _, _, end, packet = heapq.heappop(under_way)
            with contextlib.suppress(OSError):  # a packet that nobody takes is lost
                os.write(end, packet)


def _packets(end: int) -> Iterable[bytes]:
    with contextlib.suppress(BlockingIOError):
        for _ in range(_TURN):
            yield os.read(end, _PACKET)


if __name__ == "__main__":
    os.nice(-10)  # a busy machine does not make the link slower
    carry(json.loads(sys.argv[3]), float(sys.argv[1]), float(sys.argv[2]))
