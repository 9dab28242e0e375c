"""A server of S3's protocol on this machine."""

import contextlib
import logging
import os
from collections.abc import Iterator

import pytest

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextlib.contextmanager
def serve_bucket(name: str) -> Iterator[str]:
    """Serves an empty bucket to this process and to those that it starts."""
    fsspec = pytest.importorskip(
        "fsspec", reason="fsspec, which reaches buckets, is not installed"
    )
    pytest.importorskip("s3fs", reason="s3fs, which reaches S3, is not installed")
    server_of = pytest.importorskip(
        "moto.server", reason="moto, which serves S3's protocol, is not installed"
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_of.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for key, value in ENVIRONMENT.items():
            patch.setenv(key, value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setitem(os.environ, "NO_PROXY", "127.0.0.1")
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir(name)
        try:
            yield f"s3://{name}"
        finally:
            server.stop()
