"""Reads pictures strictly: `picture.py FILE...` prints for each what it is as JSON.

SVG must be well-formed XML; PNG must have all of its pixels.
"""

import json
import struct
import sys
import xml.etree.ElementTree as ElementTree
import zlib


def svg(data):
    root = ElementTree.fromstring(data)
    name = lambda element: element.tag.rsplit("}", 1)[-1]
    texts = {kind: [e.text for e in root.iter() if name(e) == kind] for kind in ("title", "desc", "text")}
    return {"width": int(root.get("width")), "height": int(root.get("height")), "role": root.get("role"),
            "elements": sorted({name(e) for e in root.iter()}), **texts}


def png(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, pixels, size = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
            assert body[8:10] == bytes([8, 6]), "8 bits of red, green, blue and opacity"
        pixels += body if kind == b"IDAT" else b""
        at += 12 + length
    assert len(zlib.decompress(pixels)) == size[1] * (1 + 4 * size[0])
    return {"width": size[0], "height": size[1]}


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    return svg(data) if path.endswith(".svg") else png(data)


json.dump([read(path) for path in sys.argv[1:]], sys.stdout)
