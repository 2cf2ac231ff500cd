"""Gathers with a list of ICE servers as a client of ours read it, by aiortc.

    echo '{"iceServers":[{"urls":["turn:…"],"username":"…","credential":"…"}]}' | gather.py

Prints `{"together": N, "alone": {"turn:…": N, …}}`: how many relayed candidates the whole list gave, and each of its TURN URLs by
itself (aiortc uses the first one that it can alone). A relayed candidate is the answer to an Allocate.
"""

import asyncio
import json
import sys

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection


def urls_of(server):
    """`url` is what `urls` was called once; adapters put the one for the other before a browser sees it."""
    urls = server["urls"] if "urls" in server else server["url"]
    return [urls] if isinstance(urls, str) else urls


def entry(server, urls):
    return RTCIceServer(urls=urls, username=server.get("username"), credential=server.get("credential"))


async def relayed(servers):
    connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    try:
        connection.createDataChannel("gather")
        await connection.setLocalDescription(await connection.createOffer())
        return connection.localDescription.sdp.count(" typ relay ")
    except (ConnectionError, asyncio.TimeoutError):
        return 0
    finally:
        await connection.close()


async def main():
    servers = json.load(sys.stdin)["iceServers"]
    turn = [(server, url) for server in servers for url in urls_of(server) if url.startswith("turn")]
    together, *alone = await asyncio.gather(
        relayed([entry(server, urls_of(server)) for server in servers]),
        *(relayed([entry(server, [url])]) for server, url in turn),
    )
    print(json.dumps({"together": together, "alone": {url: count for (_, url), count in zip(turn, alone)}}))


asyncio.run(main())
