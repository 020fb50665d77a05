"""A real server for every test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "correct horse battery staple"
REPOSITORY = Path(__file__).parents[3]


class Server:
    """``qpq-server`` on a folder of its own."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.address = "127.0.0.1:0"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts it, at the same address as before."""
        binary = os.environ.get("QPQ_SERVER_BINARY", REPOSITORY / "target/debug/qpq-server")
        command = [binary, "--data-dir", self._data, "--listen", self.address]
        environment = {**os.environ, "QPQ_SERVER__METRICS__LISTEN": "127.0.0.1:0"}
        with open(self._data / "stderr.log", "a") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("listening on "):
                self.address = line.removeprefix("listening on ").strip()
                return
        raise AssertionError((self._data / "stderr.log").read_text())

    def kill(self) -> None:
        """``kill -9``"""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is ready."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()
