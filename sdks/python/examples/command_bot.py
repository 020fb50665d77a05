"""A bot that understands commands: !help, !ping, !roll, !who, !remind SECONDS TEXT.

    QPQ_PASSWORD=... python command_bot.py DIRECTORY HOST:PORT NAME

In a group it answers only what begins with an exclamation mark. What it does not understand gets a reaction.
"""

import asyncio
import os
import random
import sys
from collections.abc import Awaitable, Callable

from quicproquo import Client, Error, Incoming

Command = Callable[[Client, Incoming, str], Awaitable[None]]
COMMANDS: dict[str, tuple[Command, str]] = {}
REMINDERS: set[asyncio.Task[None]] = set()


def command(name: str, explanation: str) -> Callable[[Command], Command]:
    """Makes a function a command."""

    def register(function: Command) -> Command:
        COMMANDS[name] = function, explanation
        return function

    return register


@command("help", "what there is")
async def help_(client: Client, message: Incoming, rest: str) -> None:
    await message.reply("\n".join(f"!{name}: {explanation}" for name, (_, explanation) in COMMANDS.items()))


@command("ping", "whether I am there")
async def ping(client: Client, message: Incoming, rest: str) -> None:
    await message.reply("pong")


@command("roll", "a number from 1 to 6")
async def roll(client: Client, message: Incoming, rest: str) -> None:
    await message.reply(str(random.randint(1, 6)))


@command("who", "who is here")
async def who(client: Client, message: Incoming, rest: str) -> None:
    if message.kind == "direct" or message.conversation is None:
        await message.reply("you and I")
        return
    members = await client.members(message.conversation)
    await message.reply(", ".join(member.name or member.identity[:8] for member in members))


@command("remind", "SECONDS TEXT: says it again after that time, unless I am restarted")
async def remind(client: Client, message: Incoming, rest: str) -> None:
    seconds, _, text = rest.partition(" ")
    if not seconds.isdigit() or not text:
        await message.react("❓")
        return

    async def later() -> None:
        await asyncio.sleep(int(seconds))
        await message.reply(text)

    await message.react("👍")
    task = asyncio.create_task(later())
    REMINDERS.add(task)
    task.add_done_callback(REMINDERS.discard)


async def answer(client: Client, message: Incoming) -> None:
    """Carries out what a message says, if it says anything to the bot."""
    text = message.text or ""
    if message.own or (message.kind == "group" and not text.startswith("!")):
        return
    name, _, rest = text.removeprefix("!").partition(" ")
    if name not in COMMANDS:
        await message.react("❓")
        return
    function, _ = COMMANDS[name]
    await function(client, message, rest)


async def main(home: str, server: str, name: str) -> None:
    async with Client(home, os.environ["QPQ_PASSWORD"], server=server, name=name) as client:
        print("ready", flush=True)
        async for event in client.events():
            if isinstance(event, Incoming):
                try:
                    await answer(client, event)
                except Error as error:
                    print(f"message {event.number}: {error}", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
