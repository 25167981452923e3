"""XMP packets: mark an image as made by a model, in the properties that search engines read."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from imagen.output.metadata.record import MAX_TEXT_BYTES

# Source: iptc.org, Photo Metadata Standard 2025.1 (read 2026-11).
_DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
# A longer prompt would overflow a JPEG's single XMP segment; the record holds it too.
_MAX_PROMPT_BYTES = 8_000
# Each takes half a microsecond. JSON has few characters that XML must escape.
_MAX_REFERENCES = 200_000

# Lists the bad characters: "all but the good ones" takes ten times as long to compile.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Programs that rewrite the packet keep it as an element or make it an attribute.
_RECORD = re.compile(rb"<imagen:record>([^<]*)</|\simagen:record=(?:\"([^\"]*)\"|'([^']*)')")

_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:imagen="urn:imagen:1/">
%s
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def write_xmp(record: Mapping[str, Any], *, embedded: str = "") -> bytes:
    """A packet about ``record``; ``embedded`` is the record's own text, to be carried along."""
    prompt = str(record.get("prompt") or "")
    properties = {
        "xmp:CreatorTool": f"imagen {record.get('imagen', '')}".strip(),
        "xmp:CreateDate": record.get("created_at"),
        "Iptc4xmpExt:DigitalSourceType": _DIGITAL_SOURCE,
        "Iptc4xmpExt:AISystemUsed": record.get("model"),
        "Iptc4xmpExt:AIPromptInformation": (
            prompt if len(prompt.encode(errors="replace")) <= _MAX_PROMPT_BYTES else ""
        ),
        "imagen:record": embedded,
    }
    lines = (
        f"<{name}>{escape(_NOT_XML.sub(' ', str(value)))}</{name}>"
        for name, value in properties.items()
        if value
    )
    return (_PACKET % "\n".join(lines)).encode()


def find_record(packet: bytes) -> str:
    """The record's text that ``write_xmp`` put into a packet, or "" where there is none."""
    if len(packet) > MAX_TEXT_BYTES:
        return ""
    match = _RECORD.search(packet)
    if match is None:
        return ""
    text = next(group for group in match.groups() if group is not None)
    if text.count(b"&") > _MAX_REFERENCES:
        return ""
    return html.unescape(text.decode(errors="replace"))
