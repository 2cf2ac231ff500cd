"""Two WebRTC peers of another implementation (aiortc) meet through this server, and through nothing else.

Usage: meeting.py HTTP_PORT BYTES

Both fetch their ICE servers from /api/ice-servers, find each other in a room of the hub, and may use relay candidates only.
One sends BYTES over a data channel, the other answers with the digest of what it got. Prints one line of JSON.
"""

import asyncio
import hashlib
import itertools
import json
import sys
import urllib.request

import websockets
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)

CHUNK = 16 * 1024
# Unsent bytes at which the sender waits.
HIGH_WATER = 256 * 1024


class Member:
    """One peer: a WebSocket in a room, and a peer connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.ids = itertools.count(1)
        self.relayed_only = True

    async def enter(self, room: str) -> list[str]:
        """Connects, says hello, joins; gives the others in the room."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/ice-servers") as answer:
            listed = json.load(answer)
        servers = [
            RTCIceServer(urls=server["urls"], username=server.get("username"), credential=server.get("credential"))
            for server in listed["iceServers"]
        ]
        self.pc = RTCPeerConnection(
            RTCConfiguration(iceServers=servers, iceTransportPolicy=RTCIceTransportPolicy.RELAY)
        )
        self.socket = await websockets.connect(
            f"ws://127.0.0.1:{self.port}/v1/ws", subprotocols=["meetpoint.v1.json"]
        )
        assert self.socket.subprotocol == "meetpoint.v1.json", self.socket.subprotocol
        await self.send({"t": "hello", "v": [1]})
        welcome = await self.wait_for("welcome")
        self.name = welcome["peer"]
        assert welcome["ice"]["servers"], "welcome without ICE servers"
        await self.send({"t": "join", "id": next(self.ids), "room": room})
        joined = await self.wait_for("joined")
        return [other["peer"] for other in joined["peers"] if other["peer"] != self.name]

    async def send(self, message: dict) -> None:
        await self.socket.send(json.dumps(message))

    async def wait_for(self, kind: str) -> dict:
        """The next message of a kind; others are not for us to judge, errors are."""
        while True:
            message = json.loads(await self.socket.recv())
            if message["t"] == "err":
                raise RuntimeError(f"the hub says {message}")
            if message["t"] == kind:
                return message

    async def signal(self, room: str, to: str, description: RTCSessionDescription) -> None:
        """aiortc gathers before it describes, so all candidates are inside."""
        lines = [line for line in description.sdp.splitlines() if line.startswith("a=candidate")]
        assert lines, "no candidates"
        self.relayed_only &= all(" typ relay" in line for line in lines)
        data = {"type": description.type, "sdp": description.sdp}
        await self.send(
            {"t": "sig", "id": next(self.ids), "room": room, "to": to, "kind": description.type, "data": data}
        )

    async def signalled(self, kind: str) -> tuple[str, RTCSessionDescription]:
        while True:
            message = await self.wait_for("sig")
            if message["kind"] == kind:
                return message["from"], RTCSessionDescription(**message["data"])

    async def leave(self) -> None:
        await self.pc.close()
        await self.socket.close()


async def offer(member: Member, room: str, to: str, size: int) -> str:
    """Offers, sends `size` bytes, gives the digest that comes back."""
    channel = member.pc.createDataChannel("bytes")
    opened, answered = asyncio.Event(), asyncio.get_running_loop().create_future()
    channel.on("open", opened.set)
    channel.on("message", lambda text: answered.done() or answered.set_result(text))
    await member.pc.setLocalDescription(await member.pc.createOffer())
    await member.signal(room, to, member.pc.localDescription)
    _, description = await member.signalled("answer")
    await member.pc.setRemoteDescription(description)
    await opened.wait()
    payload = bytes(i * 31 % 251 for i in range(CHUNK))
    left = size
    while left > 0:
        while channel.bufferedAmount > HIGH_WATER:
            await asyncio.sleep(0.005)
        channel.send(payload[: min(CHUNK, left)])
        left -= CHUNK
    channel.send("done")
    return await answered


async def answer(member: Member, room: str) -> None:
    """Answers the first offer, hashes what arrives, replies with the digest."""
    digest = hashlib.sha256()

    @member.pc.on("datachannel")
    def on_channel(channel) -> None:
        @channel.on("message")
        def on_message(message) -> None:
            if message == "done":
                channel.send(digest.hexdigest())
            else:
                digest.update(message)

    sender, description = await member.signalled("offer")
    await member.pc.setRemoteDescription(description)
    await member.pc.setLocalDescription(await member.pc.createAnswer())
    await member.signal(room, sender, member.pc.localDescription)


async def main() -> None:
    port, size = int(sys.argv[1]), int(sys.argv[2])
    room = "interop"
    elder, newcomer = Member(port), Member(port)
    try:
        assert await elder.enter(room) == []
        others = await newcomer.enter(room)
        assert others == [elder.name], others
        answering = asyncio.create_task(answer(elder, room))
        found = await asyncio.wait_for(offer(newcomer, room, elder.name, size), 60)
        await answering
        expected = hashlib.sha256()
        payload = bytes(i * 31 % 251 for i in range(CHUNK))
        for at in range(0, size, CHUNK):
            expected.update(payload[: min(CHUNK, size - at)])
        result = {
            "whole": found == expected.hexdigest(),
            "relayed_only": elder.relayed_only and newcomer.relayed_only,
            "bytes": size,
        }
        print(json.dumps(result))
    finally:
        await elder.leave()
        await newcomer.leave()


asyncio.run(asyncio.wait_for(main(), 90))
