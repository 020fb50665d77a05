"""The scenarios of ``sdks/conformance``."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import PASSWORD, REPOSITORY, Server

from quicproquo import Client, Error, Event
from quicproquo import _library as library

SCENARIOS = sorted((REPOSITORY / "sdks/conformance").glob("*.json"))
PATIENCE = 30.0


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path, server: Server, tmp_path: Path) -> None:
    asyncio.run(Stage(server, tmp_path).play(json.loads(path.read_text())))


class Stage:
    """A server, and whoever has come on."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._clients: dict[str, Client] = {}
        self._saved: dict[str, Any] = {}

    async def play(self, scenario: dict[str, Any]) -> None:
        try:
            for number, step in enumerate(scenario["steps"], 1):
                try:
                    await self._step(step)
                except Exception as error:
                    raise AssertionError(f"step {number}: {json.dumps(step)}") from error
        finally:
            for client in self._clients.values():
                await client.close()

    async def _step(self, step: dict[str, Any]) -> None:
        if "server" in step:
            {"kill": self._server.kill, "start": self._server.start}[step["server"]]()
        elif "file" in step:
            content = step["text"].encode() if "text" in step else bytes(i * 31 % 251 for i in range(step["size"]))
            (self._folder / step["file"]).write_bytes(content)
        elif "same_file" in step:
            first, second = ((self._folder / name).read_bytes() for name in step["same_file"])
            assert first == second
        elif "together" in step:
            steps = step["together"]
            outcomes = await asyncio.gather(*(self._act(one) for one in steps))
            for one, value in zip(steps, outcomes):
                self._compare(one, value)
        elif "error" in step:
            with pytest.raises(Error) as raised:
                await self._act(step)
            assert raised.value.code == step["error"]
        else:
            self._compare(step, await self._act(step))

    def _compare(self, step: dict[str, Any], value: Any) -> None:
        for expected in (step[name] for name in ("reply", "event") if name in step):
            assert looks_like(value, self._filled_in(expected)), value
        for name, pointer in step.get("save", {}).items():
            self._saved[name] = at(value, pointer)

    async def _act(self, step: dict[str, Any]) -> Any:
        who = step["as"]
        if "do" in step:
            return await self._come_or_go(who, step["do"], self._filled_in(step.get("with", {})))
        client = self._clients[who]
        if "request" in step:
            # As it stands, so that what is wrong about it gets to the library.
            return await client._call(library.request, self._filled_in(step["request"]))
        if "event" in step:
            return (await asyncio.wait_for(next_of(client, step["event"]["type"]), PATIENCE)).raw
        await client.sync()
        with pytest.raises(asyncio.TimeoutError):
            event = await asyncio.wait_for(next_of(client, step["quiet"]), 0.5)
            raise AssertionError(f"not quiet: {event.raw}")
        return None

    async def _come_or_go(self, who: str, what: str, changed: dict[str, Any]) -> Any:
        if what == "close":
            client = self._clients[who]
            if client._is_closing:
                library.close(client._handle)
            await client.close()
            return None
        config = {"home": str(self._folder / who), "password": PASSWORD, "server": self._server.address, **changed}
        reply = None
        if what == "link":
            config.pop("device_name", None)
            client = Client(**config)
            reply = await client._begin_link(changed.get("device_name"))
        else:
            # The class registers when there is nothing to open; here that is to be said.
            if what != "open":
                config.setdefault("name", who)
            library.close(await asyncio.to_thread(library.enter, what, config))
            client = Client(config["home"], config["password"])
            await client.open()
        self._clients[who] = client
        return reply

    def _filled_in(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._filled_in(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._filled_in(inner) for inner in value]
        if isinstance(value, str):
            if re.match(r"\$[^{]", value):
                return self._saved[value[1:]]
            return value.replace("${dir}", str(self._folder))
        return value


async def next_of(client: Client, kind: str) -> Event:
    """The next event of this type; others are passed over."""
    events = client.events("conformance")
    while True:
        event = await anext(events)
        if event.type == kind:
            # Leaving a loop does not count as having dealt with it.
            await asyncio.to_thread(library.acknowledge, client._handle, "conformance", event.position)
            client._feeds.pop("conformance")
            return event


def looks_like(value: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return isinstance(value, dict) and all(
            name in value and looks_like(value[name], inner) for name, inner in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(value, list)
            and len(value) == len(expected)
            and all(looks_like(one, inner) for one, inner in zip(value, expected))
        )
    return type(value) is type(expected) and bool(value == expected)


def at(value: Any, pointer: str) -> Any:
    for name in pointer.split("/")[1:]:
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value
