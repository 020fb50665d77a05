"""What the library answers and what happens, as immutable values.

Every one keeps the whole object of the library in ``raw``: a field that a later version adds can be read there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .client import Client

_T = TypeVar("_T", bound="_Object")


@dataclass(frozen=True, kw_only=True)
class _Object:
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def _of(cls: type[_T], raw: Mapping[str, Any]) -> _T:
        known = {one.name: raw[one.name] for one in fields(cls) if one.name != "raw" and one.name in raw}
        return cls(raw=raw, **known)


@dataclass(frozen=True, kw_only=True)
class Profile(_Object):
    """Who this client is."""

    name: str
    identity: str
    device: str
    server: str
    domain: str
    fingerprint: str | None


@dataclass(frozen=True, kw_only=True)
class Status(_Object):
    """How things stand."""

    online: bool
    detail: str
    waiting: int
    quarantined: int
    conversations: int
    unread: int


@dataclass(frozen=True, kw_only=True)
class Device(_Object):
    """A device of the own account; ``this`` is the one in use."""

    id: str
    name: str
    this: bool


@dataclass(frozen=True, kw_only=True)
class Comparison(_Object):
    """What a new device has to compare: the account that it joins, and the number that the other device must show, too."""

    name: str
    number: str


@dataclass(frozen=True, kw_only=True)
class PendingDevice(_Object):
    """A new device about which a person has to decide: it must show this ``number``. ``device`` is what it calls itself."""

    number: str
    device: str
    _client: Client = field(repr=False, compare=False)

    async def approve(self, *, history: bool = False, timeout: float | None = None) -> None:
        """The numbers are the same: it becomes a device of this account.

        With ``history``, it is to get the messages that are here; :meth:`quicproquo.Client.carry_history` brings them.
        """
        fields = {"number": self.number, "history": history}
        await self._client.request("link_approve", timeout=timeout, **fields)

    async def refuse(self) -> None:
        """They are not: nothing is linked."""
        await self._client.request("link_refuse")


@dataclass(frozen=True, kw_only=True)
class History(_Object):
    """Earlier messages that were carried: archives to and from other devices, and the ``messages`` that have come."""

    sent: int
    received: int
    messages: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Sent(_Object):
    """A message that is stored. ``status`` is ``sent`` when the server has it, otherwise ``waiting``."""

    id: str
    conversation: str
    status: str
    number: int | None


@dataclass(frozen=True, kw_only=True)
class Download(_Object):
    """A file that was saved."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Conversation(_Object):
    """A conversation; ``conversation`` is how requests call it."""

    conversation: str
    kind: str
    group: str | None
    title: str
    state: str
    unread: int
    request: bool
    muted: bool
    disappear: int | None


@dataclass(frozen=True, kw_only=True)
class Group(_Object):
    """A group as a change has left it."""

    group: str
    name: str
    members: list[str]
    epoch: int
    suite: str
    state: str
    waiting: int

    @property
    def conversation(self) -> str:
        """How requests call it."""
        return f"#{self.group}"


@dataclass(frozen=True, kw_only=True)
class Member(_Object):
    """A member of a group."""

    name: str | None
    identity: str
    role: str
    devices: int
    trust: str
    own: bool


@dataclass(frozen=True, kw_only=True)
class Contact(_Object):
    """Somebody, and how far this client trusts who they are."""

    name: str
    identity: str
    trust: str
    replaced_by: str | None


@dataclass(frozen=True, kw_only=True)
class SafetyNumber(_Object):
    """To be compared with what the other side sees, over another channel. ``changed``: it is of a new identity."""

    name: str
    identity: str
    safety_number: str
    trust: str
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Event(_Object):
    """Something that happened. What belongs to its ``type`` is in ``raw``; the book lists them under "Events"."""

    type: str
    position: int = 0
    conversation: str | None = None


@dataclass(frozen=True, kw_only=True)
class Message(Event):
    """A message, as an event or out of the history."""

    id: str
    number: int
    kind: str
    group: str | None
    sender: str | None
    sender_id: str
    own: bool
    verified: bool
    status: str
    request: bool
    content: Mapping[str, Any]
    in_reply_to: str | None = None

    @property
    def text(self) -> str | None:
        """The text; none when the content is something else."""
        return self.content["text"] if self.content["type"] == "text" else None

    @property
    def sent_at(self) -> datetime:
        """By the sender's clock."""
        return datetime.fromisoformat(self.raw["sent_at"].replace("Z", "+00:00"))


@dataclass(frozen=True, kw_only=True)
class Incoming(Message):
    """A message that has just come, and that can be answered.

    Answers are sent once: when the program is killed before the message counts as dealt with, it comes again, and the same
    answers in the same order are recognized instead of being sent a second time.
    """

    _client: Client = field(repr=False, compare=False)
    _consumer: str = field(repr=False, compare=False)
    _answers: list[None] = field(default_factory=list, repr=False, compare=False)

    async def reply(self, text: str, *, quote: bool = True, timeout: float | None = 0) -> Sent:
        """Answers in the same conversation, as a reply to this message (unless ``quote`` is false)."""
        return await self._client.send(
            _address(self), text, reply_to=self.number if quote else None, key=self._key(), timeout=timeout
        )

    async def reply_file(self, path: str | os.PathLike[str], *, timeout: float | None = None) -> Sent:
        """Answers in the same conversation with a file."""
        return await self._client.send_file(_address(self), path, key=self._key(), timeout=timeout)

    async def react(self, emoji: str, *, remove: bool = False, timeout: float | None = 0) -> None:
        """Reacts with an emoji. Doing it again changes nothing."""
        await self._client.react(_address(self), self.number, emoji, remove=remove, timeout=timeout)

    async def download(self, directory: str, *, name: str | None = None, replace: bool = False) -> Download:
        """Fetches the file that it is about into a directory."""
        return await self._client.download(_address(self), self.number, directory, name=name, replace=replace)

    async def accept(self) -> Conversation:
        """Takes up the conversation, when it is a request of a stranger. Answering does the same."""
        return await self._client.accept(_address(self))

    def _key(self) -> str:
        self._answers.append(None)
        return f"{self._consumer} {self.position} {len(self._answers)}"


def _address(message: Message) -> str:
    assert message.conversation is not None, "a message has a conversation"
    return message.conversation


def event_of(raw: Mapping[str, Any], client: Client, consumer: str) -> Event:
    """The event for an object of the library."""
    if raw["type"] != "message" or "content" not in raw:
        return Event._of(raw)
    known = {one.name: raw[one.name] for one in fields(Message) if one.name != "raw" and one.name in raw}
    return Incoming(raw=raw, _client=client, _consumer=consumer, **known)
