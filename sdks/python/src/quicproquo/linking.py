"""Becoming a further device of an account."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from . import _library
from .client import Client, _Path
from .objects import Comparison


class Linking:
    """A new device, in a directory without a profile, as an asynchronous context manager::

        async with Linking("~/phone", password, server="chat.example.org:7000") as linking:
            print(linking.code)  # for another device of the account: Client.link
            comparison = await linking.wait()
            print(comparison.name, comparison.number)  # the other device must show the same number
            client = await linking.accept()

    The client that comes out of it is open, and belongs to the caller; ``async with client`` closes it. Without one, nothing is
    left behind. A code is good for ten minutes.
    """

    def __init__(
        self,
        home: _Path,
        password: str,
        *,
        server: str | None = None,
        device_name: str | None = None,
        ca_cert: _Path | None = None,
        fingerprint: str | None = None,
    ) -> None:
        """The ``password`` is for the new profile. ``device_name`` is the machine's if left out."""
        self._client = Client(home, password, server=server, ca_cert=ca_cert, fingerprint=fingerprint)
        self._device_name = device_name
        self._is_linked = False
        self._is_accepted = False
        #: What the other device is to be given.
        self.code = ""
        #: The same as a link, for a QR code.
        self.link = ""

    async def begin(self) -> None:
        """Makes the code. ``async with`` does it."""
        shown = await self._client._begin_link(self._device_name)
        self.code, self.link = str(shown["code"]), str(shown["link"])

    async def wait(self, *, timeout: float | None = None) -> Comparison:
        """Waits for the other device, as long as the code is good if ``timeout`` is left out. What it answers is to be compared."""
        return Comparison._of(await self._ask("link_wait", timeout))

    async def accept(self, *, timeout: float | None = None) -> Client:
        """The numbers were the same: waits until the other device approves, too, and opens the new profile."""
        if not self._is_linked:
            await self._ask("link_accept", timeout)
        self._is_accepted = True
        return self._client

    async def close(self) -> None:
        """Gives the link up, unless it has been accepted."""
        if not self._is_accepted:
            await self._client.close()

    async def __aenter__(self) -> Linking:
        await self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, op: str, timeout: float | None) -> dict[str, Any]:
        body: dict[str, Any] = {"op": op}
        if timeout is not None:
            body["timeout_ms"] = max(0, round(timeout * 1000))
        calling = self._client._call(_library.request, body)
        try:
            reply = await asyncio.shield(calling)
        except asyncio.CancelledError:
            # Otherwise a thread would go on waiting. It may be about to begin, so that it is told until it has heard.
            while not calling.done():
                self._client._cancel()
                await asyncio.wait([calling], timeout=0.05)
            self._is_linked |= op == "link_accept" and calling.exception() is None
            raise
        self._is_linked |= op == "link_accept"
        return reply
