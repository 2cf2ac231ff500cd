#!/usr/bin/env python3
"""A TURN client that knows TCP alone, through a server's WebSocket (docs/turn-over-websocket.md).

    pip install websockets
    python3 turn_over_websocket.py 127.0.0.1:3478 wss://meet.example.org/turn
    turnutils_uclient -t -p 3478 -y -u ann -W secret 127.0.0.1

Each TCP connection to the first address becomes a WebSocket to the second. The binary messages in it, one after the other,
are the bytes of the connection: where one ends means nothing.
"""
import argparse
import asyncio
import ssl

import websockets


async def passed_on(reader, writer, url, context):
    try:
        async with websockets.connect(
            url, subprotocols=["turn"], ssl=context, compression=None, max_size=None
        ) as socket:

            async def out():
                while data := await reader.read(65536):
                    await socket.send(data)
                await socket.close()

            async def back():
                async for message in socket:
                    writer.write(message)
                    await writer.drain()

            await asyncio.gather(out(), back())
    except (OSError, websockets.WebSocketException) as error:
        print(f"{url}: {error}", flush=True)
    finally:
        writer.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("listen", help="host:port for TURN clients")
    parser.add_argument("url", help="ws:// or wss:// address of the server's /turn")
    parser.add_argument("--insecure", action="store_true", help="believe any certificate; for tests")
    arguments = parser.parse_args()
    context = ssl.create_default_context() if arguments.url.startswith("wss:") else None
    if context and arguments.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, _, port = arguments.listen.rpartition(":")
    server = await asyncio.start_server(
        lambda reader, writer: passed_on(reader, writer, arguments.url, context), host, int(port)
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
