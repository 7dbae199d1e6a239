"""A convolutional graph as an ONNX file and photos as PNG files, written by hand from the two formats' descriptions."""

import struct
import zlib


def _varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _number(field, value):
    return _varint(field << 3) + _varint(value)


def _block(field, *parts):
    raw = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _node(kind, inputs, output):
    return _block(1, *(_block(1, name) for name in inputs), _block(2, output), _block(4, kind))


def _value(field, name, sizes):
    dims = [_block(1, _block(2, "n") if size is None else _number(1, size)) for size in sizes]
    return _block(field, _block(1, name), _block(2, _block(1, _number(1, 1), _block(2, *dims))))


def scratch_onnx(function="Abs"):
    """The largest |Laplacian| of a grey image [1, 1, height, width]: smooth surfaces give little, a scratch much."""
    weights = struct.pack("<9f", 0, -1, 0, -1, 4, -1, 0, -1, 0)
    tensor = _block(5, *(_number(1, size) for size in (1, 1, 3, 3)), _number(2, 1), _block(8, "w"), _block(9, weights))
    graph = _block(7, _node("Conv", ["x", "w"], "edges"), _node(function, ["edges"], "all"),
                   _node("GlobalMaxPool", ["all"], "most"), _node("Flatten", ["most"], "y"), _block(2, "scratch"), tensor,
                   _value(11, "x", [1, 1, None, None]), _value(12, "y", [1, 1]))
    return _number(1, 8) + graph + _block(8, _block(1, ""), _number(2, 13))


def png(width, height, pixels):
    """8 bits of grey: `pixels`, row by row."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(pixels[y * width:(y + 1) * width]) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def part_photo(number, size=24):
    """A smooth surface; every third has a scratch."""
    pixels = [x * 3 + y * 2 + number % 8 for y in range(size) for x in range(size)]
    if number % 3 == 0:
        for y in range(4, size - 4):
            pixels[y * size + y] = 255
    return png(size, size, pixels)
