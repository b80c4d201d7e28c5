"""The program of a decoder: a separate process that decodes picture files, one after the other, and can be killed at any time.

It reads requests from a socket and ends when the socket is closed. It can allocate only the memory that it was granted, so
that a picture that needs more fails and not the service. Decoders are forked by a process that does nothing else, the fork
server: a fork takes a millisecond and does not hold up the service. Knows nothing of HTTP, of batches, or of other decoders.
"""

import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
import warnings
from contextlib import suppress
from typing import Any

from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from models.depth import Note
from models.preprocess import Preprocessing, draft
from service.formats import pictures as codecs
from service.formats.decoder_processes.malloc import prepare, trim
from service.formats.errors import BadInput, TooCostly
from service.formats.inline_decoding import webp_size

# A request: length of the description (JSON), length of the file, memory for opening it, memory for decoding it, seconds.
REQUEST = struct.Struct(">IQQQd")
# An answer: its kind, and the length of its content. NEED has the number of bytes that decoding would take. PIXELS has the
# number of pixels of the file (8 bytes), with the fit "any_size" the height and the width, then the pixels for the model, and
# notes about them as JSON, if there are any. FAILED has an error as JSON. SPENT, without content, means that the granted
# memory was not enough.
ANSWER = struct.Struct(">cQ")
NEED, PIXELS, FAILED, SPENT = b"N", b"P", b"F", b"S"
NUMBER, SIZE = struct.Struct(">Q"), struct.Struct(">II")
# Commands to the fork server. FORK comes with a socket; the reply is a process id, or a negative errno. WAIT waits for a
# decoder that is ending; the reply is its exit status, or NO_STATUS if it is not a child. A first reply of 0 means "ready".
COMMAND, REPLY = struct.Struct(">cQ"), struct.Struct(">q")
FORK, WAIT = b"F", b"W"
NO_STATUS = 1 << 32
# Memory that a decoder may take beyond what was granted: strips, tables, Python objects.
SLACK_BYTES = 16 << 20
# Decoders have a lower priority than the service.
NICE = 5
# After a larger file, or one that was granted no memory at first, the decoder gives free memory back to the system.
LARGE_FILE = 1 << 20
# A JPEG with more scans x pixels than this is not decoded at once, but treated as a large picture.
QUICK_WORK = 12 << 20
# Scans of a JPEG with the largest allowed number of pixels; a smaller picture may have more. A progressive JPEG has about ten.
MAX_SCANS = 12
# TIFF tags.
BITS_PER_SAMPLE, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH = 258, 278, 322, 323
# The formats that are read: imported before decoders are forked, so that no decoder has to import anything.
PLUGINS = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)


def main() -> None:
    """Run the fork server: fork decoders until the other end of standard input is closed, then kill those that are left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # signals are for the service, which ends its decoders itself
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None  # we check the size ourselves
    prepare()
    gc.freeze()
    children: set[int] = set()
    try:
        with socket.socket(fileno=0) as control, suppress(ConnectionError):
            control.sendall(REPLY.pack(0))
            while _command(control, children):
                pass
    finally:  # the service may have been killed while its decoders were busy
        for pid in children:
            os.kill(pid, signal.SIGKILL)  # nobody has waited for the child, so its process id has not been reused
        for pid in children:
            os.waitpid(pid, 0)


def _command(control: socket.socket, children: set[int]) -> bool:
    """Execute one command. Return False if the socket was closed."""
    command, sockets, *_ = socket.recv_fds(control, COMMAND.size, 1)
    if len(command) < COMMAND.size:
        return False
    kind, pid = COMMAND.unpack(command)
    if kind == WAIT:
        status = NO_STATUS
        if pid in children:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            children.remove(pid)
        control.sendall(REPLY.pack(status))
        return True
    try:
        reply = os.fork()
    except OSError as error:  # for example too many processes; existing decoders go on
        reply = -(error.errno or 1)
    if not reply:
        control.close()
        try:
            _serve(sockets[0])
        finally:
            os._exit(1)
    os.close(sockets[0])
    if reply > 0:
        children.add(reply)
    control.sendall(REPLY.pack(reply))
    return True


def _serve(number: int) -> None:
    """Run as a decoder until the other end of the socket is closed."""
    os.nice(NICE)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 2)  # C libraries write many messages about broken pictures
    idle = allocated_bytes()
    with socket.socket(fileno=number) as connection, suppress(ConnectionError):
        while _serve_one(connection, idle):
            pass
    os._exit(0)


def _serve_one(connection: socket.socket, idle: int) -> bool:
    """Answer one request. Return False if the decoder must end."""
    length, size, opening, granted, seconds = REQUEST.unpack(_receive(connection, REQUEST.size))
    what = json.loads(_receive(connection, length))
    _allow(idle + opening + SLACK_BYTES)
    _limit_time(seconds)
    try:
        try:
            answer = _decode(connection, size, what, idle, granted, seconds)
        except BadInput as error:
            if _is_of_memory(error):
                raise MemoryError from None
            answer = FAILED, json.dumps([type(error).__name__, error.reason]).encode()
    except MemoryError:
        connection.sendall(ANSWER.pack(SPENT, 0))
        return False  # its memory may be fragmented
    _limit_time(0)
    if answer[0]:
        connection.sendall(ANSWER.pack(answer[0], len(answer[1])) + answer[1])
    if size > LARGE_FILE or granted == 0:
        trim()
    return True


def _decode(
    connection: socket.socket, size: int, what: dict[str, Any], idle: int, granted: int, seconds: float
) -> tuple[bytes, bytes]:
    """Return the kind and the content of the answer; the kind is empty if the other end does not want it any more."""
    spec, max_pixels, spent = Preprocessing(**what["spec"]), what["max_pixels"], what["spent"]
    data = _receive(connection, size)
    canvas, work, image = webp_size(data), 0, None
    if canvas is None:
        image = codecs.open_picture(data, max_pixels)
        canvas = image.size
        work = canvas[0] * canvas[1] * (data.count(b"\xff\xda") if image.format in ("JPEG", "MPO") else 1)
        cost = size + _cost(image, spec, work)
        del data  # the opened picture may hold a shorter copy
    else:  # opening a WebP file already allocates two canvases
        codecs.check_size(*canvas, max_pixels)
        cost = 4 * size + 18 * canvas[0] * canvas[1]
    pixels = canvas[0] * canvas[1]
    codecs.check_sum(spent + pixels, max_pixels, None)
    if work > MAX_SCANS * max_pixels:
        raise TooCostly(
            f"all scans of the JPEG together have {work} pixels, at most {MAX_SCANS} x {max_pixels} (VAE_MAX_PIXELS) are "
            "allowed; save it with fewer scans"
        )
    if cost > granted or work > QUICK_WORK:
        _limit_time(0)
        connection.sendall(ANSWER.pack(NEED, NUMBER.size) + NUMBER.pack(cost))
        (granted,) = NUMBER.unpack(_receive(connection, NUMBER.size))
        if not granted:
            return b"", b""
        _limit_time(seconds)
    _allow(idle + granted + SLACK_BYTES)
    if image is None:
        image = codecs.open_picture(data, max_pixels)
    notes: list[Note] = []
    found = codecs.picture_pixels(image, spec, notes=notes)
    decoded = SIZE.pack(*found.shape[1:]) + found.tobytes() if spec.fit == "any_size" else found.tobytes()
    return PIXELS, NUMBER.pack(pixels) + decoded + (json.dumps(notes).encode() if notes else b"")


def _cost(image: Image.Image, spec: Preprocessing, work: int) -> int:
    """Estimate the bytes that decoding an opened picture takes beside its file, as measured for each format."""
    pixels, beside = image.width * image.height, 0
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        if work > pixels or "progressive" in image.info:  # libjpeg keeps all coefficients until the last scan
            most = max(v * h for _, v, h, _ in image.layer) or 1
            beside = 2 * pixels * sum(v * h for _, v, h, _ in image.layer) // most
    elif isinstance(image, TiffImagePlugin.TiffImageFile) and image.info.get("compression") != "raw":
        beside = _strip_bytes(image)
    elif image.format == "BMP" and image.tile and image.tile[0][0] != "raw":  # type: ignore[attr-defined]
        beside = 3 * pixels  # Pillow decodes run-length encoding in Python
    draft(image, spec)
    width, height = image.size
    kept = width * height if spec.fit == "any_size" else spec.height * spec.width
    tables = 56 * (width + height) + 16 * kept  # for resampling, and its result
    return width * height * _bytes_per_pixel(image) + beside + tables


def _strip_bytes(image: TiffImagePlugin.TiffImageFile) -> int:
    """Return the size of a decompressed strip or tile of a TIFF file."""
    tags = image.tag_v2
    sizes = [
        int(tags.get(tag, most))
        for tag, most in ((TILE_WIDTH, image.width), (TILE_LENGTH, tags.get(ROWS_PER_STRIP, image.height)))
    ]
    bits = sum(tags.get(BITS_PER_SAMPLE, (1,)))
    whole = image.width * image.height
    area = max(0, sizes[0] * (sizes[1] if TILE_LENGTH in tags else min(sizes[1], image.height)))
    return (area if TILE_WIDTH in tags else min(area, whole)) * max(4, bits // 8)


def _bytes_per_pixel(image: Image.Image) -> int:
    """Return how many bytes per pixel Pillow needs in memory."""
    return 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4


def _is_of_memory(error: BaseException) -> bool:
    return isinstance(error.__cause__ or error.__context__, MemoryError) or "out of memory" in str(error)


def _receive(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes. Raise ConnectionError if the other end is closed before."""
    parts, missing = [], size
    while missing:
        part = connection.recv(missing, socket.MSG_WAITALL)
        if not part:
            raise ConnectionError
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)  # a lone part is not copied


def allocated_bytes() -> int:
    """Return the memory that this process has allocated, or 0 on systems that do not tell."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
    except (OSError, StopIteration):
        return 0


def _allow(size: int) -> None:
    """Limit the memory of this process to so many bytes."""
    if sys.platform == "linux":  # other systems do not count mapped memory: the limit is not enforced there
        resource.setrlimit(resource.RLIMIT_DATA, (size, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _limit_time(seconds: float) -> None:
    """Start a timer that kills this process after so many seconds and one more, in case the service cannot; 0 stops it."""
    signal.setitimer(signal.ITIMER_REAL, seconds and seconds + 1)
