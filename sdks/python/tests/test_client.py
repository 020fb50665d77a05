"""What a Python programmer relies on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conftest import PASSWORD, Server

from quicproquo import (
    AuthenticationFailed,
    Client,
    Closed,
    Event,
    Incoming,
    InvalidRequest,
    NotFound,
    ProfileError,
    version,
)


def person(folder: Path, server: Server, name: str) -> Client:
    return Client(folder / name, PASSWORD, server=server.address, name=name)


async def texts(client: Client, count: int, consumer: str = "python") -> list[str | None]:
    found: list[str | None] = []

    async def read() -> None:
        async for event in client.events(consumer):
            if isinstance(event, Incoming):
                found.append(event.text)
            if len(found) == count:
                return

    await asyncio.wait_for(read(), 30)
    return found


def test_a_group_talks_and_errors_say_what_to_do(server: Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path, server, "alice") as alice, person(tmp_path, server, "bob") as bob:
            assert (await alice.whoami()).name == "alice" and version()
            team = await alice.create_group("team", ["@bob"])
            assert team.members == ["alice", "bob"] and team.suite == "hybrid"
            sent = await alice.send(team.conversation, "hello")
            assert sent.status == "sent"
            async for event in bob.events():
                if isinstance(event, Incoming):
                    assert (event.text, event.sender, event.group) == ("hello", "alice", "team")
                    assert event.sent_at.tzinfo is not None
                    await event.reply("hi", timeout=15)
                    await event.react("👍", timeout=15)
                    break
            assert await texts(alice, 1) == ["hi"]
            history = await alice.history("#team")
            assert [message.text for message in history] == ["hello", "hi"]
            assert [(member.name, member.role) for member in await alice.members("#team")] == [
                ("alice", "admin"),
                ("bob", "member"),
            ]
            with pytest.raises(NotFound) as unknown:
                await alice.lookup("@nobody")
            assert unknown.value.code == "unknown_user"
            with pytest.raises(InvalidRequest):
                await alice.request("send", conversation="@bob", txet="x")
            with pytest.raises(InvalidRequest):
                await alice.send("@bob", "half \ud800")
            with pytest.raises(ProfileError):
                await person(tmp_path, server, "alice").open()
        with pytest.raises(Closed):
            await alice.whoami()
        with pytest.raises(AuthenticationFailed):
            await Client(tmp_path / "alice", "wrong").open()

    asyncio.run(story())


def test_what_was_not_dealt_with_comes_again(server: Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path, server, "alice") as alice:
            for text in ["one", "two"]:
                await alice.send("@me", text)
            first: list[Event] = []
            async for event in alice.events():
                first.append(event)
                break
            async for event in alice.events():
                assert event == first[0], "left with break"
                break
            with pytest.raises(RuntimeError):
                async for event in alice.events():
                    raise RuntimeError("a bot that fails")
        async with Client(tmp_path / "alice", PASSWORD) as alice:
            async for event in alice.events():
                assert event.position == first[0].position, "also after a restart"
                break
            # A task that is canceled while it waits loses nothing.
            await alice.sync()
            seen: list[int] = []
            read = asyncio.Event()

            async def reading() -> None:
                async for event in alice.events("other"):
                    seen.append(event.position)
                    read.set()

            waiting = asyncio.create_task(reading())
            await read.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            # It may have been canceled while the note that it had dealt with an event was on its way.
            given, last = seen.pop(), (await alice.send("@me", "the last one")).id
            async for event in alice.events("other"):
                seen.append(event.position)
                if event.raw.get("id") == last:
                    break
            assert first[0].position in {*seen, given} and seen == sorted(set(seen))
            assert set(range(1, seen[-1] + 1)) == {*seen, given}

    asyncio.run(story())


def test_closing_ends_loops_and_calls(server: Server, tmp_path: Path) -> None:
    async def story() -> None:
        alice = person(tmp_path, server, "alice")
        await alice.open()

        async def loop() -> str:
            async for _ in alice.events():
                pass
            return "ended"

        looping = asyncio.create_task(loop())
        await alice.sync()
        server.kill()
        making = asyncio.create_task(alice.create_group("never", timeout=600))
        # However far that has come: it ends.
        await asyncio.sleep(0)
        await alice.close()
        assert await asyncio.wait_for(looping, 10) == "ended"
        with pytest.raises(Closed):
            await asyncio.wait_for(making, 10)
        await alice.close()
        server.start()
        await alice.open()
        await alice.sync()
        await alice.close()

    asyncio.run(story())
