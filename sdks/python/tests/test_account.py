"""What is done with an account: a further device, the password, recovery, the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conftest import PASSWORD, Server

from quicproquo import (
    AuthenticationFailed,
    Client,
    Closed,
    Incoming,
    InvalidRequest,
    Linking,
    ProfileError,
    Refused,
    TryLater,
)

NEW = "a new horse"


def person(folder: Path, server: Server, name: str) -> Client:
    return Client(folder / name, PASSWORD, server=server.address, name=name)


def test_a_device_is_linked_and_gets_the_history(server: Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path, server, "alice") as alice:
            await alice.send("@me", "from before")
            async with Linking(tmp_path / "phone", PASSWORD, server=server.address, device_name="phone") as linking:
                assert linking.code and linking.code in linking.link
                with pytest.raises(TryLater):
                    await linking.wait(timeout=0.05)
                with pytest.raises(InvalidRequest):
                    await linking.accept()
                comparison, pending = await asyncio.gather(linking.wait(), alice.link(linking.code, timeout=30))
                assert (comparison.name, pending.device) == ("alice", "phone")
                assert comparison.number == pending.number
                # Whoever no longer wants to wait does not, and loses nothing.
                waiting = asyncio.create_task(linking.accept())
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await pending.approve(history=True, timeout=30)
                with pytest.raises(InvalidRequest):
                    await pending.approve()
                phone = await linking.accept(timeout=30)
                assert await linking.accept() is phone
            async with phone:
                sent, carried = await asyncio.gather(
                    alice.carry_history(timeout=30), phone.carry_history(timeout=30)
                )
                assert (sent.sent, carried.received, carried.messages, carried.failed) == (1, 1, 1, 0)
                assert [message.text for message in await phone.history("@me")] == ["from before"]
                assert [device.name for device in await phone.devices()][-1] == "phone"
                sent_here = await phone.send("@me", "from the phone", timeout=30)
                async for event in phone.events():
                    if event.raw.get("id") == sent_here.id:
                        break
            # The same object opens it again.
            async with phone:
                assert (await phone.whoami()).name == "alice"

    asyncio.run(story())


def test_a_link_that_is_refused_or_given_up_leaves_nothing(server: Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path, server, "alice") as alice:
            linking = Linking(tmp_path / "phone", PASSWORD, server=server.address)
            await linking.begin()
            _, pending = await asyncio.gather(linking.wait(), alice.link(linking.code, timeout=30))
            await pending.refuse()
            with pytest.raises(InvalidRequest):
                await pending.refuse()
            accepting = asyncio.create_task(linking.accept())
            await asyncio.sleep(0)
            await linking.close()
            with pytest.raises(Closed):
                await asyncio.wait_for(accepting, 10)
            with pytest.raises(ProfileError):
                await Client(tmp_path / "phone", PASSWORD).open()
            assert len(await alice.devices()) == 1

    asyncio.run(story())


def test_an_account_is_brought_back_and_deleted(server: Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path, server, "alice") as alice:
            identity = (await alice.whoami()).identity
            with pytest.raises(AuthenticationFailed):
                await alice.change_password("not this", NEW)
            await alice.change_password(PASSWORD, NEW)
            words = await alice.recovery_phrase()
            assert len(words.split()) == 24
        # It knows its new password.
        async with alice:
            await alice.sync()
        lost = Client(
            tmp_path / "new", PASSWORD, server=server.address, name="alice", recovery_phrase="abandon " * 23 + "art"
        )
        with pytest.raises(AuthenticationFailed) as wrong:
            await lost.open()
        assert "abandon" not in str(wrong.value)
        back = Client(tmp_path / "new", PASSWORD, server=server.address, name="alice", recovery_phrase=words)
        async with back:
            assert (await back.whoami()).identity == identity
            assert len(await back.devices()) == 1
            await back.forget_recovery()
            with pytest.raises(AuthenticationFailed):
                await back.delete_account("not this", "alice")
            with pytest.raises(InvalidRequest):
                await back.delete_account(PASSWORD, "bob")
            await back.delete_account(PASSWORD, "alice", timeout=30)
            with pytest.raises(Closed):
                await back.whoami()
        assert not (tmp_path / "new").exists()
        with pytest.raises(Refused):
            await person(tmp_path / "other", server, "alice").open()

    asyncio.run(story())


def test_a_file_is_sent_once_for_each_key(server: Server, tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "note.txt"
        path.write_text("a small note")
        async with person(tmp_path, server, "bob") as bob, person(tmp_path, server, "alice") as alice:
            first = await alice.send_file("@me", path, key="1", timeout=30)
            assert await alice.send_file("@me", path, key="1", timeout=30) == first
            await alice.send("@bob", "please", timeout=30)
        path.unlink()
        async with Client(tmp_path / "alice", PASSWORD) as alice:
            assert await alice.send_file("@me", path, key="1", timeout=0) == first
        path.write_text("another note")
        # An event that comes again, since it was not dealt with, is answered with the same file.
        for _ in range(2):
            async with Client(tmp_path / "bob", PASSWORD) as bob:
                async for event in bob.events():
                    if isinstance(event, Incoming):
                        await event.reply_file(path, timeout=30)
                        break
                answers = [message for message in await bob.history("@alice") if message.own]
                assert [answer.content["name"] for answer in answers] == ["note.txt"]

    asyncio.run(story())
