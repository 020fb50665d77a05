"""A bot that answers every message with its text.

    QPQ_PASSWORD=... python echo_bot.py DIRECTORY HOST:PORT NAME

The account is registered when there is none yet. Kill it whenever you like: it goes on where it was, misses no message and
answers none twice.
"""

import asyncio
import os
import sys

from quicproquo import Client, Incoming


async def main(home: str, server: str, name: str) -> None:
    async with Client(home, os.environ["QPQ_PASSWORD"], server=server, name=name) as client:
        print("ready", flush=True)
        async for event in client.events():
            if isinstance(event, Incoming) and not event.own and event.text:
                await event.reply(event.text, quote=False)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
