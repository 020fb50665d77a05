"""A bot that is killed, and a server that is killed: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

from conftest import PASSWORD, Server

from quicproquo import Client, Incoming

EXAMPLES = Path(__file__).parents[1] / "examples"
MESSAGES = 40


class Bot:
    """An example as a process of its own."""

    def __init__(self, script: str, home: Path, server: Server) -> None:
        command = [sys.executable, str(EXAMPLES / script), str(home), server.address, "bot"]
        environment = {**os.environ, "QPQ_PASSWORD": PASSWORD}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def is_ready(self) -> None:
        assert self._process.stdout is not None and self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def test_an_echo_bot_answers_everything_once(server: Server, tmp_path: Path) -> None:
    chance = random.Random(7)

    async def story() -> None:
        bot = Bot("echo_bot.py", tmp_path / "bot", server)
        await asyncio.to_thread(bot.is_ready)
        async with Client(tmp_path / "alice", PASSWORD, server=server.address, name="alice") as alice:
            answers: list[str | None] = []

            async def listen() -> None:
                async for event in alice.events():
                    if isinstance(event, Incoming) and not event.own:
                        answers.append(event.text)

            listening = asyncio.create_task(listen())
            for number in range(MESSAGES):
                await alice.send("@bot", f"message {number}", timeout=15 if number == 0 else 0)
                if number % 8 == 3:
                    # At whatever moment: between an event, its answer, and the note of it.
                    await asyncio.sleep(chance.random())
                    bot.kill()
                    bot = Bot("echo_bot.py", tmp_path / "bot", server)
                if number % 16 == 9:
                    server.kill()
                    await asyncio.sleep(chance.random() / 2)
                    server.start()
            bot.kill()
            bot = Bot("echo_bot.py", tmp_path / "bot", server)
            expected = {f"message {number}" for number in range(MESSAGES)}
            async with asyncio.timeout(120) if sys.version_info >= (3, 11) else Forever():
                while not expected <= set(answers):
                    await asyncio.sleep(0.05)
            # What the bot has sent a second time would be among what it has sent by now.
            await alice.send("@bot", "the last one")
            while "the last one" not in answers:
                await asyncio.sleep(0.05)
            await alice.close()
            await listening
        bot.kill()
        assert sorted(map(str, answers)) == sorted([*expected, "the last one"])

    asyncio.run(story())


class Forever:
    """Python 3.10 has no ``asyncio.timeout``."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def test_a_bot_with_commands(server: Server, tmp_path: Path) -> None:
    async def story() -> None:
        bot = Bot("command_bot.py", tmp_path / "bot", server)
        await asyncio.to_thread(bot.is_ready)
        async with Client(tmp_path / "alice", PASSWORD, server=server.address, name="alice") as alice:
            for text in ["!ping", "!roll", "!nothing", "!remind 0 tea"]:
                await alice.send("@bot", text)
            said, reactions = [], []

            async def listen() -> None:
                async for event in alice.events():
                    if isinstance(event, Incoming):
                        said.append(event.text)
                    elif event.type == "reaction":
                        reactions.append(event.raw["emoji"])
                    if len(said) == 3 and len(reactions) == 2:
                        return

            await asyncio.wait_for(listen(), 60)
            assert said[0] == "pong" and said[1] in list("123456") and said[2] == "tea"
            assert reactions == ["❓", "👍"]
        bot.kill()

    asyncio.run(story())
