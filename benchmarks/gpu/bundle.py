"""An executable with its weights inside, made of one that would make random weights at its start (docs/bundle.md)."""

import random
import shutil
import struct

TRAILER = struct.Struct("<QQQII8s")  # plan hash, table's offset, bytes of the file, sections, version, magic
SECTION = struct.Struct("<IIQQQ")    # kind, 0, offset, bytes, checksum
MAGIC, VERSION, WEIGHTS, ALIGN = b"QWNCHBDL", 1, 1, 4096
BLOCK = 4 << 20


def small_numbers(size):
    """Bytes that are small numbers of either sign, read as bf16 (0.0078 to 0.031) as well as f32."""
    source = random.Random(1)
    block = bytearray(size)
    block[0::2] = source.randbytes(size // 2)
    block[1::2] = source.randbytes(size // 2).translate(bytes(0x3c | byte & 0x80 for byte in range(256)))
    return bytes(block)


def append_weights(program, out, weight_bytes):
    """Writes `out`: the program and its data, and a section of weights, of which the values are of no interest. A program reads
    weights of a file rather than making them."""
    data = program.read_bytes()
    plan_hash, table_offset, file_bytes, count, version, magic = TRAILER.unpack_from(data, len(data) - TRAILER.size)
    if (magic, version, file_bytes) != (MAGIC, VERSION, len(data)):
        raise ValueError(f"{program}: expected a bundle of version {VERSION} at its end, found none")
    at = (len(data) + ALIGN - 1) // ALIGN * ALIGN
    table = data[table_offset:table_offset + count * SECTION.size] + SECTION.pack(WEIGHTS, 0, at, weight_bytes, 0)
    block = small_numbers(BLOCK)
    with out.open("wb") as file:
        file.write(data.ljust(at, b"\0"))
        for done in range(0, weight_bytes, BLOCK):
            file.write(block[:weight_bytes - done])
        file.write(b"\0" * (-file.tell() % 8))
        table_offset = file.tell()
        file.write(table)
        file.write(TRAILER.pack(plan_hash, table_offset, file.tell() + TRAILER.size, count + 1, version, magic))
    shutil.copymode(program, out)
