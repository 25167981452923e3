"""The server's half of RFC 6455, as much of it as a fake needs."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from collections.abc import Iterator
from typing import Protocol

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class Readable(Protocol):
    """Where bytes come from; ``read`` blocks until it has them all or the stream has ended."""

    def read(self, size: int, /) -> bytes: ...


def accept_key(key: str) -> str:
    """The value of ``Sec-WebSocket-Accept`` for a client's ``Sec-WebSocket-Key``."""
    return base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()


def write_frame(connection: socket.socket, opcode: int, payload: bytes) -> None:
    """Send one whole frame. Blocks while the peer does not read."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", 0x80 | opcode, size)
    elif size < 1 << 16:
        header = struct.pack("!BBH", 0x80 | opcode, 126, size)
    else:
        header = struct.pack("!BBQ", 0x80 | opcode, 127, size)
    connection.sendall(header + payload)


def read_frames(stream: Readable) -> Iterator[tuple[int, bytes]]:
    """Opcode and unmasked payload of each frame, until the connection ends."""
    while len(head := stream.read(2)) == 2:
        opcode, size = head[0] & 0x0F, head[1] & 0x7F
        if size == 126:
            size = struct.unpack("!H", stream.read(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", stream.read(8))[0]
        mask = stream.read(4) if head[1] & 0x80 else bytes(4)
        payload = stream.read(size)
        yield opcode, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
