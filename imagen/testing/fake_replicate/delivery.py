"""The delivery host of the fake Replicate: images without a token, and how that goes wrong."""

from __future__ import annotations

from typing import ClassVar

from imagen.testing.fake_replicate import pictures
from imagen.testing.fake_replicate.faults import Fault, Moment
from imagen.testing.fake_replicate.http import Handler


class DeliveryHandler(Handler):
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
            case Fault.DOWNLOAD_ERROR:
                return self.send(503, b"busy", "text/plain")
            case Fault.DOWNLOAD_TRUNCATED:
                return self.send(200, data[: len(data) // 2], kind, announced_bytes=len(data))
            case Fault.DOWNLOAD_GARBAGE:
                return self.send(200, b"<html>not an image</html>", kind)
            case Fault.DOWNLOAD_REDIRECTED:
                target = {"Location": "https://elsewhere.invalid/out-0.png"}
                return self.send(302, b"", "text/plain", headers=target)
        return self.send(200, data, kind)
