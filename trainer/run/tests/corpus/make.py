"""Writes the archives in tar/ that `pack` would never make."""

import io
import os
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))


def entry(name, kind=tarfile.REGTYPE, data=b"", link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = kind, len(data), link, mode
    return info, data


def write(file, *entries, form=tarfile.GNU_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    content = out.getvalue()
    end = len(content.rstrip(b"\0"))
    # Two empty blocks are an end; the rest is only padding.
    content = content[: -(-end // 512) * 512] + bytes(1024)
    with open(os.path.join(HERE, "tar", file), "wb") as to:
        to.write(content)


LINK = entry("x", tarfile.SYMTYPE, link="../outside")
write("up", entry("../outside/file", data=b"after"))
write("absolute", entry("/tmp/lockstep-outside", data=b"after"))
write("through-a-link", LINK, entry("x/file", data=b"after"))
write("over-a-link", entry("x", tarfile.SYMTYPE, link="../outside/file"), entry("x", data=b"after"))
write("folder-over-a-link", LINK, entry("x", tarfile.DIRTYPE, mode=0o777))
write("hard-link", LINK, entry("y", tarfile.LNKTYPE, link="../outside/file"), entry("y", data=b"after"))
write("hard-link-through-a-link", LINK, entry("y", tarfile.LNKTYPE, link="x/file"))
write("fifo", entry("pipe", tarfile.FIFOTYPE))
write("device", entry("null", tarfile.CHRTYPE))
write("setuid", entry("root", data=b"#!/bin/sh\n", mode=0o6777))
write("twice", entry("a", data=b"1"), entry("a", data=b"2"), entry("a/b", data=b"3"))
pax, data = entry("a" * 120, data=b"1")
pax.pax_headers = {"size": "99999999999", "path": "../outside/file"}
write("pax", (pax, data), form=tarfile.PAX_FORMAT)
# A sparse file of 8 GiB: size of the pieces that are there, none; size of the whole.
sparse, data = entry("big", tarfile.GNUTYPE_SPARSE)
block = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
block[156:157] = b"S"
block[483:495] = b"%011o\0" % (1 << 33)
block[148:156] = b" " * 8
block[148:156] = b"%06o\0 " % sum(block)
with open(os.path.join(HERE, "tar", "sparse"), "wb") as to:
    to.write(bytes(block[:512]) + bytes(1024))
