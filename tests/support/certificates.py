"""An authority of this test's own, by the `openssl` command (it comes with PostgreSQL), and servers that use it."""

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from support import private_servers
from support.waiting import eventually

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]


@dataclass(frozen=True)
class Certificates:
    """Files in PEM. `server` is for `localhost`, and no other name or address; `authority` has signed it."""

    authority: Path
    server: Path
    key: Path


def make(folder: Path) -> Certificates:
    """In a folder that servers, which are other users, can read."""
    if shutil.which("openssl") is None:
        reason = "there is no openssl command; install the package openssl"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    found = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    authority = ["-x509", "-keyout", "ca.key", "-out", found.authority, "-subj", "/CN=Test authority"]
    signed = ["-x509", "-CA", found.authority, "-CAkey", "ca.key", "-keyout", found.key, "-out", found.server]
    names = [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=CA:FALSE",
    ]
    for arguments in (authority, [*signed, *names]):
        subprocess.run(["openssl", "req", *_KEY, *arguments], cwd=folder, check=True, capture_output=True)
    found.key.chmod(0o644)
    return found


class TLSServer:
    """A private server that speaks TLS, and nothing else, on `port`."""

    def __init__(self, name: str, folder: Path, certificates: Certificates) -> None:
        self.port = private_servers.free_port()
        server = private_servers.SERVERS[name]
        self._server = replace(server, script=_SCRIPTS[name](server.script, certificates))
        self._folder = folder / name
        self._process = private_servers.start(self._server, self._folder, self.port)
        self._authority = certificates.authority

    def wait(self) -> None:
        """Until it answers."""

        def ready() -> bool:
            assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
            ask = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-CAfile", str(self._authority)]
            if self._server.variable.endswith("NATS_URL"):  # TLS begins after its greeting
                return private_servers.answer(self._server, self.port).startswith(b"INFO ")
            return b"Verification: OK" in subprocess.run(ask, stdin=subprocess.DEVNULL, capture_output=True).stdout

        eventually(ready, "the server answers")

    def end(self) -> None:
        private_servers.stop(self._process, self._server.stop)


def _redis(_: str, made: Certificates) -> str:
    return (
        f'exec redis-server --bind 127.0.0.1 --port 0 --tls-port "$PORT" --save "" --dir . --tls-auth-clients no '
        f"--tls-ca-cert-file {made.authority} --tls-cert-file {made.server} --tls-key-file {made.key}"
    )


def _nats(script: str, made: Certificates) -> str:
    return f"{script.strip()} --tls --tlscert {made.server} --tlskey {made.key}"


def _rabbitmq(script: str, made: Certificates) -> str:
    lines = [
        "listeners.ssl.1 = 127.0.0.1:$PORT",
        f"ssl_options.cacertfile = {made.authority}",
        f"ssl_options.certfile = {made.server}",
        f"ssl_options.keyfile = {made.key}",
        "ssl_options.verify = verify_none",
    ]
    settings = "".join(f'echo "{line}" >>rabbitmq.conf\n' for line in lines)
    plain = f"RABBITMQ_NODE_PORT={private_servers.free_port()}"
    return script.replace("exec rabbitmq-server", f"{settings}exec rabbitmq-server").replace(
        'RABBITMQ_NODE_PORT="$PORT"', plain
    )


_SCRIPTS = {"redis": _redis, "nats": _nats, "rabbitmq": _rabbitmq}
