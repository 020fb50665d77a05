"""The events of one consumer, in order, each until it was dealt with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from . import _library, errors
from .objects import Event, event_of

if TYPE_CHECKING:
    from .client import Client


class Feed:
    """Outlives the loops that read it: what was handed out and not dealt with is handed out again."""

    def __init__(self, client: Client, consumer: str) -> None:
        self._client = client
        self._consumer = consumer
        self._reader: Events | None = None
        self._current: Event | None = None
        self._looking: asyncio.Future[dict[str, Any] | None] | None = None
        self._fd: int | None = None
        self._wake: Callable[[], None] | None = None

    @property
    def is_closing(self) -> bool:
        """Whether the client is being closed."""
        return self._client._is_closing

    def take_over(self, reader: Events) -> None:
        """From now on this loop reads, and whoever did so before is told."""
        self._reader = reader
        self.release()

    async def next(self, reader: Events) -> Event:
        """Waits for the next event."""
        self._check(reader)
        while self._current is None:
            if self._looking is None:
                self._looking = self._client._call(_library.next_event, self._consumer, 0)
                # Nobody may be left to ask for the error.
                self._looking.add_done_callback(lambda looked: looked.cancelled() or looked.exception())
            looking = self._looking
            # Whoever stops waiting must not lose what the other thread has just taken out.
            await asyncio.wait([looking])
            self._check(reader)
            self._looking = None
            raw = looking.result()
            if raw is None:
                await self._readable()
                self._check(reader)
            else:
                self._current = event_of(raw, self._client, self._consumer)
        return self._current

    async def done(self, reader: Events) -> None:
        """The event has been dealt with."""
        self._check(reader)
        if self._current is not None:
            await self._client._call(_library.acknowledge, self._consumer, self._current.position)
            self._current = None

    def release(self) -> None:
        """Takes the descriptor out of the event loop, and ends waiting for it."""
        if self._fd is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._fd = None
        if self._wake is not None:
            self._wake()

    def _check(self, reader: Events) -> None:
        if self.is_closing:
            raise errors.of({"code": "bad_handle", "status": 11, "text": "the client is closed"})
        if reader is not self._reader:
            text = f"another loop reads the events of {self._consumer!r} now; choose another consumer"
            raise errors.of({"code": "bad_input", "status": 10, "text": text})

    async def _readable(self) -> None:
        fd = await self._client._call(_library.event_fd, self._consumer)
        loop, something = asyncio.get_running_loop(), asyncio.Event()
        # Only for as long as somebody waits: the descriptor stays readable while an event is dealt with.
        self._wake, self._fd = something.set, fd
        loop.add_reader(fd, something.set)
        try:
            await something.wait()
        finally:
            self.release()


class Events(AsyncIterator[Event]):
    """One loop over a feed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._has_given = False
        feed.take_over(self)

    async def __anext__(self) -> Event:
        try:
            if self._has_given:
                await self._feed.done(self)
            event = await self._feed.next(self)
        except errors.Closed:
            if self._feed.is_closing:
                raise StopAsyncIteration from None
            raise
        self._has_given = True
        return event
