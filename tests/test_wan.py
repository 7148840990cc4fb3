"""The bed of sites and links, on which benchmarks and tests count bytes."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wan import Wan, Wire, counters, why_unavailable

NBYTES = 1_000_000
ROUND_TRIP = 0.02
RATE = 2.5e6
#: Receives what one connection sends, and answers it with one byte when it has ended.
SINK = """
import socket, sys
with socket.create_server((sys.argv[1], 9000)) as server:
    print("ready", flush=True)
    connection, _ = server.accept()
    while connection.recv(1 << 20):
        pass
    connection.sendall(b"!")
"""


def test_packets_follow_each_other_at_the_rate_of_their_wire() -> None:
    wire = Wire(rate=1000, delay=1.0)
    assert [wire.arrival(5.0, 10) for _ in range(3)] == pytest.approx([6.01, 6.02, 6.03])
    assert wire.arrival(9.0, 10) == pytest.approx(10.01)


def test_packets_that_would_wait_too_long_are_lost() -> None:
    wire = Wire(rate=1000, delay=0.0)
    assert wire.arrival(0.0, 60) == pytest.approx(0.06)
    assert wire.arrival(0.0, 60) is None
    assert wire.arrival(0.06, 60) == pytest.approx(0.12)


def test_names_of_sites_are_short() -> None:
    with pytest.raises(ValueError, match="'Home Office'"):
        Wan(["Home Office"], rate=RATE, round_trip=ROUND_TRIP)


needs_bed = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))


@pytest.fixture
def wan() -> Iterator[Wan]:
    with Wan(("home", "a", "b"), rate=RATE, round_trip=ROUND_TRIP) as wan:
        yield wan


@needs_bed
def test_what_is_sent_is_counted_on_its_link_and_nowhere_else(wan: Wan) -> None:
    address = wan.address("a")
    with wan.run("a", [sys.executable, "-c", SINK, address], stdout=subprocess.PIPE) as sink:
        assert sink.stdout is not None
        sink.stdout.readline()
        before = wan.nbytes()
        start = time.monotonic()
        with wan.inside("home"), socket.create_connection((address, 9000)) as connection:
            connection.sendall(bytes(NBYTES))
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b"!"
        # As fast as the link is, it is never faster.
        assert time.monotonic() - start > NBYTES / RATE + ROUND_TRIP
        crossed = {link: n - before[link] for link, n in wan.nbytes().items()}
    assert NBYTES < crossed["home", "a"] < 1.1 * NBYTES
    assert 0 < crossed["a", "home"] < 0.1 * NBYTES
    assert sum(crossed.values()) == crossed["home", "a"] + crossed["a", "home"]


@needs_bed
def test_process_of_a_site_sees_its_own_counters_only(wan: Wan) -> None:
    assert counters() == {}
    script = "from tests.wan import counters; print(sorted(counters()))"
    with wan.run("a", [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0] == "['b', 'home']\n"


@needs_bed
def test_hidden_directory_is_empty_for_one_process_only(wan: Wan, tmp_path: Path) -> None:
    Path(tmp_path, "file").touch()
    listing = [
        sys.executable,
        "-c",
        "import os, sys; print(os.listdir(sys.argv[1]))",
        str(tmp_path),
    ]
    for hidden, expected in ([tmp_path], "[]\n"), ([], "['file']\n"):
        with wan.run("a", listing, hidden=hidden, stdout=subprocess.PIPE, text=True) as process:
            assert process.communicate()[0] == expected


@needs_bed
def test_nothing_is_left_of_a_bed() -> None:
    with Wan(("a", "b"), rate=RATE, round_trip=ROUND_TRIP) as wan:
        sleeping = wan.run("a", ["sleep", "1000"])
        holders = [holder.pid for holder in wan._holders.values()]
    assert sleeping.returncode is not None
    assert not [pid for pid in holders if Path(f"/proc/{pid}").exists()]
    assert not [name for _, name in socket.if_nameindex() if name.startswith("wan")]


@needs_bed
def test_nothing_is_left_of_a_bed_whose_owner_is_killed() -> None:
    script = """
import subprocess, time
from tests.wan import Wan
with Wan(("a", "b"), rate=1e6, round_trip=0.01) as wan:
    sleeping = wan.run("a", ["sleep", "1000"])
    print(sleeping.pid, *(holder.pid for holder in wan._holders.values()), flush=True)
    time.sleep(1000)
"""
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner:
        pids = owner.stdout.readline().split()
        owner.kill()
        # Its output ends when all have gone that could write to it.
        assert owner.stdout.read() == ""
    deadline = time.monotonic() + 10
    while running := [pid for pid in pids if _runs(pid)]:
        assert time.monotonic() < deadline, running


def _runs(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
