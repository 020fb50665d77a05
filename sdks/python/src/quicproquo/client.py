"""The client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from . import _library, errors
from ._feed import Events, Feed
from .objects import (
    Contact,
    Conversation,
    Device,
    Download,
    Event,
    Group,
    History,
    Member,
    Message,
    PendingDevice,
    Profile,
    SafetyNumber,
    Sent,
    Status,
)

_T = TypeVar("_T")
_Path = str | os.PathLike[str]

# Calls that wait for the server at the same time. More than that queue up.
_THREADS = 16


class Client:
    """A profile that is open, as an asynchronous context manager::

        async with Client("~/bot", password, server="chat.example.org:7000", name="bot") as client:
            async for event in client.events():
                ...

    A conversation is written as ``"@user"`` or ``"#group"`` (its name, or its id), and events have it like that. All methods
    may be called from any task of one event loop. ``timeout`` is how long to wait for the server, in seconds: 15 if left out,
    0 to wait for nothing. What was stored goes on after a timeout.
    """

    def __init__(
        self,
        home: _Path,
        password: str,
        *,
        server: str | None = None,
        name: str | None = None,
        invite: str | None = None,
        recovery_phrase: str | None = None,
        ca_cert: _Path | None = None,
        fingerprint: str | None = None,
    ) -> None:
        """With a ``name``, an account is registered when the directory has no profile yet; with a ``recovery_phrase`` as well,
        it is brought back (:meth:`recovery_phrase`) with ``password`` as its new one, and all other devices are locked out."""
        config = {
            "home": os.path.expanduser(home),
            "password": password,
            "server": server,
            "ca_cert": None if ca_cert is None else os.path.expanduser(ca_cert),
            "fingerprint": fingerprint,
        }
        self._config = {field: value for field, value in config.items() if value is not None}
        self._name = name
        self._invite = invite
        self._words = recovery_phrase
        self._handle = 0
        self._threads: ThreadPoolExecutor | None = None
        self._feeds: dict[str, Feed] = {}
        self._is_closing = False

    async def open(self) -> None:
        """Opens the profile, or registers it first, and starts to connect. ``async with`` does it."""
        await self._start(self._enter())
        _library.connect(self._handle)

    async def _begin_link(self, device_name: str | None) -> dict[str, Any]:
        """Until it is linked, the handle is that of the link."""
        shown: dict[str, Any] = {}

        async def begin() -> int:
            config = {**self._config, **_given(device_name=device_name)}
            handle, reply = await self._thread(_library.link, config)
            shown.update(reply)
            return handle

        await self._start(begin())
        return shown

    async def _start(self, enter: Coroutine[Any, Any, int]) -> None:
        if self._threads is not None:
            enter.close()
            raise errors.InvalidRequest({"code": "bad_input", "status": 10, "text": "the client is open already"})
        self._is_closing, self._feeds = False, {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="quicproquo")
        try:
            self._handle = await enter
        except BaseException:
            self._threads.shutdown(wait=False)
            self._threads = None
            raise

    async def _enter(self) -> int:
        try:
            return await self._thread(_library.enter, "open", self._config)
        except errors.ProfileError as error:
            if error.code != "no_profile" or self._name is None:
                raise
        config = {**self._config, "name": self._name}
        if self._words is not None:
            return await self._thread(_library.enter, "login", {**config, "recovery_phrase": self._words})
        return await self._thread(_library.enter, "register", {**config, **_given(invite=self._invite)})

    async def close(self) -> None:
        """Ends the connection and releases the profile. Calls that wait end with :class:`Closed`, loops over events end."""
        threads, self._threads = self._threads, None
        if threads is None:
            return
        self._is_closing = True
        # The library closes the descriptors that loops over events wait for.
        for feed in self._feeds.values():
            feed.release()
        loop = asyncio.get_running_loop()
        try:
            await asyncio.shield(loop.run_in_executor(None, _library.close, self._handle))
        except errors.Closed:
            # With its account.
            pass
        finally:
            threads.shutdown(wait=False)

    async def __aenter__(self) -> Client:
        # One that comes out of a link is open.
        if self._threads is None:
            await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # Events

    def events(self, consumer: str = "python") -> AsyncIterator[Event]:
        """What happens, in order, messages as :class:`Incoming`. Begins where this ``consumer`` left off, also after a restart.

        An event counts as dealt with when the loop asks for the next one. One that is left with ``break``, an exception or
        ``kill -9`` comes again. The loop ends when the client is closed, or with :class:`InvalidRequest` when another one
        reads the same consumer from now on.
        """
        return Events(self._feeds.setdefault(consumer, Feed(self, consumer)))

    # Messages

    async def send(
        self,
        conversation: str,
        text: str,
        *,
        reply_to: int | None = None,
        key: str | None = None,
        timeout: float | None = None,
    ) -> Sent:
        """Stores a message and sends it. Durable when it returns, also offline.

        With a ``key``, the message is sent once however often this is called with the same key: for programs that do not
        know, after a crash, whether they had sent it.
        """
        fields = _given(conversation=conversation, text=text, reply_to=reply_to, key=key)
        return Sent._of(await self.request("send", timeout=timeout, **fields))

    async def send_file(
        self, conversation: str, path: _Path, *, key: str | None = None, timeout: float | None = None
    ) -> Sent:
        """Uploads a file and sends a message about it. ``timeout`` is for how long nothing may move.

        With a ``key``, once, as :meth:`send`: later calls with it do not look at the file any more.
        """
        fields = _given(conversation=conversation, path=os.path.abspath(path), key=key)
        return Sent._of(await self.request("send_file", timeout=timeout, **fields))

    async def download(
        self,
        conversation: str,
        number: int,
        directory: _Path,
        *,
        name: str | None = None,
        replace: bool = False,
        timeout: float | None = None,
    ) -> Download:
        """Fetches the file of a message into a directory. ``timeout`` is for how long nothing may move."""
        place = {"directory": os.path.abspath(directory), "replace": replace}
        fields = _given(conversation=conversation, number=number, name=name, **place)
        return Download._of(await self.request("download", timeout=timeout, **fields))

    async def react(
        self, conversation: str, number: int, emoji: str, *, remove: bool = False, timeout: float | None = None
    ) -> None:
        """Reacts to the message with this number, or takes that back."""
        fields = {"conversation": conversation, "number": number, "emoji": emoji, "remove": remove}
        await self.request("react", timeout=timeout, **fields)

    async def edit(self, conversation: str, number: int, text: str, *, timeout: float | None = None) -> None:
        """Changes the text of an own message."""
        await self.request("edit", timeout=timeout, conversation=conversation, number=number, text=text)

    async def delete(self, conversation: str, number: int, *, timeout: float | None = None) -> None:
        """Takes an own message back, on all devices of all members."""
        await self.request("delete", timeout=timeout, conversation=conversation, number=number)

    async def history(
        self, conversation: str, *, before: int | None = None, limit: int = 50, search: str | None = None
    ) -> list[Message]:
        """The newest messages, oldest first; those before a number, and those with all words of ``search``, if given."""
        fields = _given(conversation=conversation, before=before, limit=limit, search=search)
        return [Message._of(raw) for raw in (await self.request("history", **fields))["items"]]

    async def mark_read(self, conversation: str) -> None:
        """Everything in the conversation counts as read."""
        await self.request("mark_read", conversation=conversation)

    async def typing(self, conversation: str) -> None:
        """Shows others that something is being written. At most every few seconds."""
        await self.request("typing", conversation=conversation)

    # Conversations and groups

    async def conversations(self) -> list[Conversation]:
        """All of them, the most recently used first."""
        return [Conversation._of(raw) for raw in (await self.request("conversations"))["items"]]

    async def conversation(self, conversation: str) -> Conversation:
        """One of them."""
        return Conversation._of(await self.request("conversation", conversation=conversation))

    async def accept(self, conversation: str) -> Conversation:
        """Takes up a conversation that a stranger began."""
        return Conversation._of(await self.request("accept", conversation=conversation))

    async def mute(self, conversation: str, on: bool = True) -> Conversation:
        """No signals for a conversation."""
        return Conversation._of(await self.request("mute", conversation=conversation, on=on))

    async def disappear(
        self, conversation: str, seconds: int | None, *, timeout: float | None = None
    ) -> Conversation:
        """How long messages stay from now on; none for ever."""
        fields = {"conversation": conversation, "seconds": seconds}
        return Conversation._of(await self.request("disappear", timeout=timeout, **fields))

    async def create_group(
        self, name: str, members: Sequence[str] = (), *, timeout: float | None = None
    ) -> Group:
        """Makes a group with these members (``"@user"``)."""
        return Group._of(await self.request("group_create", timeout=timeout, name=name, members=list(members)))

    async def invite(self, group: str, *members: str, timeout: float | None = None) -> Group:
        """Adds members to a group."""
        fields = {"conversation": group, "members": list(members)}
        return Group._of(await self.request("group_invite", timeout=timeout, **fields))

    async def remove(self, group: str, member: str, *, timeout: float | None = None) -> Group:
        """Removes a member from a group."""
        fields = {"conversation": group, "member": member}
        return Group._of(await self.request("group_remove", timeout=timeout, **fields))

    async def leave(self, group: str, *, timeout: float | None = None) -> Group:
        """Leaves a group."""
        return Group._of(await self.request("group_leave", timeout=timeout, conversation=group))

    async def rename(self, group: str, name: str, *, timeout: float | None = None) -> Group:
        """Gives a group another name."""
        return Group._of(await self.request("group_rename", timeout=timeout, conversation=group, name=name))

    async def set_admin(
        self, group: str, member: str, is_admin: bool = True, *, timeout: float | None = None
    ) -> Group:
        """Makes a member an admin, or no longer one."""
        fields = {"conversation": group, "member": member, "role": "admin" if is_admin else "member"}
        return Group._of(await self.request("group_role", timeout=timeout, **fields))

    async def group(self, group: str) -> Group:
        """What is known of a group."""
        return Group._of(await self.request("group_info", conversation=group))

    async def members(self, group: str) -> list[Member]:
        """Who is in a group."""
        return [Member._of(raw) for raw in (await self.request("group_members", conversation=group))["items"]]

    # People

    async def lookup(self, user: str, *, timeout: float | None = None) -> Contact:
        """Asks the server who somebody is, so that a changed identity is noticed."""
        return Contact._of(await self.request("lookup", timeout=timeout, user=user))

    async def contacts(self) -> list[Contact]:
        """Everybody who is known."""
        return [Contact._of(raw) for raw in (await self.request("contacts"))["items"]]

    async def verify(self, user: str, *, timeout: float | None = None) -> SafetyNumber:
        """The safety number with somebody, for comparing."""
        return SafetyNumber._of(await self.request("verify", timeout=timeout, user=user))

    async def trust(self, user: str, decision: str) -> Contact:
        """Stores a person's decision: ``"verified"``, ``"unverified"`` or ``"rejected"``."""
        return Contact._of(await self.request("trust", user=user, decision=decision))

    async def block(self, user: str, on: bool = True) -> Contact:
        """Nothing is heard of somebody any more; or it is again."""
        return Contact._of(await self.request("block" if on else "unblock", user=user))

    async def contact_link(self) -> str:
        """The own contact link, to be given to others."""
        return str((await self.request("contact_link"))["link"])

    async def import_contact(self, link: str) -> Contact:
        """Pins who somebody is before first contact."""
        return Contact._of(await self.request("contact_import", link=link))

    # The profile

    async def whoami(self) -> Profile:
        """Who this client is."""
        return Profile._of(await self.request("whoami"))

    async def status(self) -> Status:
        """How things stand."""
        return Status._of(await self.request("status"))

    async def devices(self) -> list[Device]:
        """The devices of this account."""
        return [Device._of(raw) for raw in (await self.request("devices"))["items"]]

    async def rename_device(self, name: str, device: str | None = None, *, timeout: float | None = None) -> Device:
        """Gives a device (its id; this one if left out) another name."""
        return Device._of(await self.request("device_rename", timeout=timeout, **_given(name=name, device=device)))

    async def unlink_device(self, device: str, *, timeout: float | None = None) -> Device:
        """Locks another device of this account out."""
        return Device._of(await self.request("device_unlink", timeout=timeout, device=device))

    async def link(self, code: str, *, timeout: float | None = None) -> PendingDevice:
        """Finds the new device that shows this code (:class:`Linking`), which has to wait for it at this moment.

        Nothing is linked before its number was compared and :meth:`PendingDevice.approve` was called.
        """
        raw = await self.request("link_offered", timeout=timeout, code=code)
        return PendingDevice(raw=raw, number=raw["number"], device=raw["device"], _client=self)

    async def carry_history(self, wait: bool = True, *, timeout: float | None = None) -> History:
        """Brings earlier messages to a new device; to be called on both. ``timeout`` is for how long nothing may move.

        With ``wait``, also what the other device has not sent yet.
        """
        return History._of(await self.request("carry_history", timeout=timeout, wait=wait))

    # The account

    async def change_password(
        self, password: str, new_password: str, *, account_password: str | None = None
    ) -> None:
        """Changes the password of the account and of this profile.

        The profiles of other devices keep theirs. ``account_password`` is for when the account's was changed on another one.
        """
        fields = _given(password=password, new_password=new_password, account_password=account_password)
        await self.request("change_password", **fields)
        self._config["password"] = new_password

    async def recovery_phrase(self) -> str:
        """The 24 words that bring the account back when all devices are lost. Whoever has them can become you."""
        return str((await self.request("recovery"))["words"])

    async def forget_recovery(self) -> None:
        """Makes the words useless, until they are asked for again."""
        await self.request("recovery_remove")

    async def delete_account(self, password: str, name: str, *, timeout: float | None = None) -> None:
        """Leaves all groups, deletes the account at the server and the profile here, and closes the client. There is no way back.

        ``name`` is the own one, to confirm it.
        """
        await self.request("delete_account", timeout=timeout, password=password, name=name)
        await self.close()

    async def sync(self, *, timeout: float | None = None) -> None:
        """Waits until everything has been sent and taken."""
        await self.request("sync", timeout=timeout)

    async def request(self, op: str, *, timeout: float | None = None, **fields: Any) -> dict[str, Any]:
        """Any request that the library knows, also one that has no method here. The reply as it comes."""
        body = {"op": op, **fields}
        if timeout is not None:
            body["timeout_ms"] = max(0, round(timeout * 1000))
        return await self._call(_library.request, body)

    def _cancel(self) -> None:
        """Ends the calls that wait at this moment in the library."""
        if self._threads is not None:
            _library.cancel(self._handle)

    def _call(self, function: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        """Calls the library with the handle in another thread: it blocks."""
        return self._thread(function, self._handle, *arguments)

    def _thread(self, function: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        if self._threads is None:
            raise errors.of({"code": "bad_handle", "status": 11, "text": "the client is not open"})
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, partial(function, *arguments))


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
