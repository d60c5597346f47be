"""English text from Debian packages: six novels, the King James Bible, fortunes, a dictionary.

Packages are downloaded with apt-get and unpacked into a folder; nothing is installed.
"""

import pathlib
import re
import struct
import subprocess
import zlib

PACKAGES = ("r-cran-janeaustenr", "bible-kjv", "bible-kjv-text", "fortunes", "fortunes-min", "dict-devil")
FORTUNE_FILES = ("literature", "wisdom", "platitudes", "people", "cookie", "science", "work", "education", "humorists",
                 "computers", "riddles", "food", "magic", "tao", "news", "miscellaneous", "sports")
NOVELS = ("emma", "mansfieldpark", "northangerabbey", "persuasion", "prideprejudice", "sensesensibility")
STRING_VECTOR, STRING = 0x10, 0x09


def unpack(folder):
    """Downloads PACKAGES into `folder` and unpacks them below folder/root; returns that root."""
    root = pathlib.Path(folder) / "root"
    if not root.exists():
        root.mkdir(parents=True)
        subprocess.run(["apt-get", "download", *PACKAGES], cwd=folder, check=True)
        for package in sorted(pathlib.Path(folder).glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    return root


def r_strings(block):
    """The lines of one value of an R lazy-load database: 4 bytes of length, then zlib of an XDR string vector."""
    data = zlib.decompress(block[4:])
    assert data[:2] == b"X\n", data[:8]
    at = 14
    if struct.unpack_from(">i", data, 2)[0] >= 3:
        at += 4 + struct.unpack_from(">i", data, at)[0]
    flags, count = struct.unpack_from(">ii", data, at)
    assert flags & 0xFF == STRING_VECTOR, flags
    at, lines = at + 8, []
    for _ in range(count):
        flags, size = struct.unpack_from(">ii", data, at)
        assert flags & 0xFF == STRING, flags
        lines.append(data[at + 8:at + 8 + max(size, 0)].decode("utf-8", "replace"))
        at += 8 + max(size, 0)
    return lines


def paragraphs(lines):
    """Joins hard-wrapped lines; an empty line ends a paragraph."""
    text = "\n".join(line.rstrip() for line in lines)
    return [" ".join(p.split()) for p in re.split(r"\n\s*\n", text) if p.strip()]


def novels(root):
    """Novel name -> list of paragraphs, with plain quotation marks."""
    folder = root / "usr/lib/R/site-library/janeaustenr/data"
    index = zlib.decompress((folder / "Rdata.rdx").read_bytes(), wbits=47)
    blob = (folder / "Rdata.rdb").read_bytes()
    places = [struct.unpack(">ii", m) for m in re.findall(rb"\x00\x00\x00\r\x00\x00\x00\x02(.{8})", index, re.S)]
    books = {}
    for name, (offset, size) in zip(NOVELS, places):
        text = paragraphs(r_strings(blob[offset:offset + size]))
        books[name] = [re.sub(r"_([^_]+)_", r"\1", p).replace("--", " - ") for p in text]
    return books


def bible(root):
    """Book abbreviation -> list of chapters -> list of verses, through the package's own reader."""
    run = subprocess.run(["../bin/bible", "-f", "gen1:1-rev22:21"], cwd=root / "usr/lib", stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, check=True)
    books = {}
    for line in run.stdout.splitlines():
        match = re.match(r"(\d?[A-Za-z]+)(\d+):(\d+) (.*)", line)
        if match:
            book, chapter, _, verse = match.groups()
            books.setdefault(book, {}).setdefault(int(chapter), []).append(verse.strip())
    return {book: [chapters[c] for c in sorted(chapters)] for book, chapters in books.items()}


def fortunes(root):
    """All fortunes of FORTUNE_FILES, tabs as spaces, without terminal control characters."""
    folder, found = root / "usr/share/games/fortunes", []
    for name in FORTUNE_FILES:
        if not (folder / name).exists():
            continue
        text = (folder / name).read_text("utf-8", "replace").expandtabs(4)
        text = re.sub(r"[^\n -~\u00a0-\uffff]", "", text)
        found += [f.strip("\n") for f in re.split(r"^%\s*$", text, flags=re.M) if f.strip()]
    return found


def devils_dictionary(root):
    """Headword -> definition of The Devil's Dictionary, one paragraph, entries of a sentence or three only."""
    index = (root / "usr/share/dictd/devil.index").read_text().splitlines()
    packed = (root / "usr/share/dictd/devil.dict.dz").read_bytes()
    text = zlib.decompress(packed, wbits=31)
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    number = lambda s: sum(digits.index(c) << (6 * i) for i, c in enumerate(reversed(s)))
    entries = {}
    for line in index:
        word, offset, size = line.split("\t")[:3]
        if word.startswith("00"):
            continue
        entry = text[number(offset):number(offset) + number(size)].decode("utf-8", "replace")
        body = re.sub(r"\s+", " ", entry.split("\n\n")[0])
        match = re.match(r"[^,]+, (?:n|adj|v\. ?[it]|adv|pp|x)\.(?: ?pl\.)? (.+)", body)
        if match and len(match[1]) < 400:
            entries[word.lower()] = match[1].strip()
    return entries
