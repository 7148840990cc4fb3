"""Object stores for tests: servers that speak S3, each with credentials of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

BUCKET = "bucket"
_EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


class Asked(NamedTuple):
    """A request that a server got."""

    method: str
    path: str
    key: str | None
    status: int


class Endpoint(NamedTuple):
    """A server with one bucket, which only its own credentials open."""

    url: str
    key: str
    secret: str
    log: Path

    @property
    def options(self) -> dict[str, Any]:
        return {"endpoint_url": self.url, "key": self.key, "secret": self.secret}

    @property
    def secrets(self) -> list[bytes]:
        return [self.key.encode(), self.secret.encode()]

    def asked(self) -> list[Asked]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [Asked(x["method"], x["path"], x["key"], x.get("status", 500)) for x in lines]

    def filesystem(self) -> Any:
        import s3fs

        return s3fs.S3FileSystem(**self.options, skip_instance_cache=True)


@contextmanager
def s3_endpoint() -> Iterator[Endpoint]:
    """Start a server, and end it."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "requests.jsonl")
        # Not the environment's own credentials, nor a proxy.
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        with (
            log.open("w") as out,
            subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("s3_server.py"))],
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            ) as process,
        ):
            try:
                assert process.stderr is not None
                url = f"http://127.0.0.1:{int(process.stderr.readline())}"
                yield Endpoint(url, *_credentials(url), log)
            finally:
                process.kill()


def _credentials(url: str) -> tuple[str, str]:
    """Make a bucket, and the only user who may open it."""
    import boto3

    anybody = {
        "endpoint_url": url,
        "region_name": "us-east-1",
        "aws_access_key_id": "anybody",
        "aws_secret_access_key": "anything",
    }
    iam = boto3.client("iam", **anybody)
    iam.create_user(UserName="pool")
    policy = json.dumps(_EVERYTHING)
    iam.put_user_policy(UserName="pool", PolicyName="all", PolicyDocument=policy)
    made = iam.create_access_key(UserName="pool")["AccessKey"]
    boto3.client("s3", **anybody).create_bucket(Bucket=BUCKET)
    # From now on, signatures are checked.
    plain = {"Content-Type": "text/plain"}
    with urlopen(Request(f"{url}/moto-api/reset-auth", b"0", plain)) as answer:  # noqa: S310
        assert answer.status == 200
    return made["AccessKeyId"], made["SecretAccessKey"]
