"""The delivery host of the fake Replicate: images without a token, and how that goes wrong."""

from __future__ import annotations

import zlib
from typing import ClassVar

from tests.fakes.replicate import pictures
from tests.fakes.replicate.faults import Moment, ReplicateFault
from tests.fakes.replicate.http import ReplicateHandler

_SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'
#: A PNG of 50,000 x 50,000 pixels, by its header.
_BOMB = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    + (50_000).to_bytes(4, "big") * 2
    + b"\x08\x02\x00\x00\x00"
    + zlib.crc32(b"IHDR" + (50_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00").to_bytes(
        4, "big"
    )
)


class DeliveryHandler(ReplicateHandler):
    """``/output/<prediction id>/<name>``."""

    host: ClassVar[str] = "delivery"

    def do_GET(self) -> None:
        self.note()
        parts = self.path.strip("/").split("/")
        one = self.stage.world.find(parts[1]) if len(parts) == 3 else None
        if one is None:
            return self.send(404, b"not here", "text/plain")
        data = pictures.draw(one.inputs)
        kind = {"png": "image/png", "jpg": "image/jpeg"}.get(parts[2][-3:], "image/webp")
        match self.next_fault(Moment.DOWNLOAD):
            case ReplicateFault.DOWNLOAD_ERROR:
                return self.send(503, b"busy", "text/plain")
            case ReplicateFault.DOWNLOAD_TRUNCATED:
                return self.send(200, data[: len(data) // 2], kind, announced_bytes=len(data))
            case ReplicateFault.DOWNLOAD_GARBAGE:
                return self.send(200, b"<html>not an image</html>", kind)
            case ReplicateFault.DOWNLOAD_SVG:
                return self.send(200, _SVG, "image/svg+xml")
            case ReplicateFault.DOWNLOAD_GIF:
                return self.send(200, b"GIF89a" + bytes(900), "image/gif")
            case ReplicateFault.DOWNLOAD_VIDEO:
                return self.send(200, bytes(4) + b"ftypisom" + bytes(900), "video/mp4")
            case ReplicateFault.DOWNLOAD_BOMB:
                return self.send(200, _BOMB, "image/png")
            case ReplicateFault.DOWNLOAD_DAMAGED:
                return self.send(200, data[:-40] + bytes(40), kind)
            case ReplicateFault.DOWNLOAD_TOO_LARGE:
                return self.send(200, bytes(1000), "video/mp4", announced_bytes=2 << 30)
            case ReplicateFault.DOWNLOAD_REDIRECTED:
                target = {"Location": "https://elsewhere.invalid/out-0.png"}
                return self.send(302, b"", "text/plain", headers=target)
        return self.send(200, data, kind)
