"""An S3-speaking server on 127.0.0.1: a script, started by `tests.data.s3`.

Moto checks signatures once it is told to; what has none it answers with an error of its own, so
that is refused here. Each request is one line of JSON on the standard output.
"""

from __future__ import annotations

import json
import re
import sys
from threading import Lock

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

_KEY = re.compile(r"Credential=([^/]+)/")


class Quiet(WSGIRequestHandler):
    def log(self, *args):
        pass


class Recorded:
    """The application, which says what it is asked for."""

    def __init__(self, application):
        self.application = application
        self.lock = Lock()

    def __call__(self, environ, start_response):
        found = _KEY.search(environ.get("HTTP_AUTHORIZATION", ""))
        key = found.group(1) if found else None
        told = {}

        def start(status, headers, *args):
            told["status"] = int(status.split()[0])
            return start_response(status, headers, *args)

        path = environ["PATH_INFO"]
        application = self.application
        if key is None and not path.startswith("/moto-api"):
            application = Response("<Error><Code>AccessDenied</Code></Error>", status=403)
        try:
            return application(environ, start)
        finally:
            what = {"method": environ["REQUEST_METHOD"], "path": path, "key": key, **told}
            with self.lock:
                print(json.dumps(what), flush=True)  # noqa: T201


if __name__ == "__main__":
    application = Recorded(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    print(server.server_port, file=sys.stderr, flush=True)  # noqa: T201
    server.serve_forever()
