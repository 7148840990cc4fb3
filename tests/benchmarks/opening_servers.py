"""The two ways in which a site offers its files to others: by HTTP, and by SFTP for mounts.

    python -m tests.benchmarks.opening_servers (http | sftp) ADDRESS PORT DIRECTORY

It says ``ready`` as soon as it listens, and serves until it is ended. Nothing here asks for a
password: it is for the bed in `tests.wan`, from which no traffic gets out.
"""

from __future__ import annotations

import functools
import socketserver
import subprocess
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: Where distributions put the program that speaks SFTP on its standard input and output.
SFTP_SERVERS = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/lib/ssh/sftp-server",
)


def sftp_server() -> str | None:
    """Return the path of the program that speaks SFTP, if there is one."""
    return next((path for path in SFTP_SERVERS if Path(path).exists()), None)


class Files(SimpleHTTPRequestHandler):
    """Files by HTTP, over connections that are kept."""

    protocol_version = "HTTP/1.1"
    # Else the end of a file waits for the receipt of its beginning: one more round trip.
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Say nothing: there are thousands of requests."""


class Sftp(socketserver.BaseRequestHandler):
    """SFTP right on a connection, without ssh around it."""

    def handle(self) -> None:
        program = sftp_server()
        assert program is not None
        subprocess.run([program], stdin=self.request, stdout=self.request, check=False)


class SftpServer(socketserver.ThreadingTCPServer):
    """A server with a thread for each mount."""

    daemon_threads = True


def main(kind: str, address: str, port: str, directory: str) -> None:
    """Serve files, until the process is ended."""
    where = address, int(port)
    if kind == "http":
        files = functools.partial(Files, directory=directory)
        server: socketserver.BaseServer = ThreadingHTTPServer(where, files)
    else:
        server = SftpServer(where, Sftp)
    with server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
