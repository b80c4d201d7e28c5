"""One decoder: a process of its own that turns picture files into pixels, one after the other, and can be ended at any time.

It reads requests from a socket and ends when that is closed. What it may allocate is what it has been granted: a picture that
wants more fails, not the service. Decoders are forked by a process that does nothing else: it is there in a millisecond, and
the service is not held up meanwhile. Knows nothing of HTTP, of batches, or of other decoders.
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

from models.preprocess import Preprocessing, draft
from service.formats import pictures as codecs
from service.formats.decoding.cheap_pictures import webp_size
from service.formats.decoding.malloc import prepare, trim
from service.formats.errors import BadInput, TooCostly

# lengths of the description (JSON) and of the file; bytes for opening it, bytes for decoding it; seconds that it may take
REQUEST = struct.Struct(">IQQQd")
# Kind and length of an answer: NEED brings the bytes that decoding would take, PIXELS the pixels of the file (8 bytes) and
# then the model's, FAILED an error as JSON, SPENT says that the memory which was granted was not enough.
ANSWER = struct.Struct(">cQ")
NEED, PIXELS, FAILED, SPENT = b"N", b"P", b"F", b"S"
NUMBER = struct.Struct(">Q")
# To the process that forks: FORK comes with a socket and is answered with a process id, or a negative errno; WAIT with the
# exit status of a decoder that ends, or NO_STATUS for one that is not its own. Before any command it says 0: it is ready.
COMMAND, REPLY = struct.Struct(">cQ"), struct.Struct(">q")
FORK, WAIT = b"F", b"W"
NO_STATUS = 1 << 32
# beyond what is granted: strips, tables, the objects of Python
SLACK_BYTES = 16 << 20
# decoding gives way to serving
NICE = 5
# after a file of more bytes, or one that was to ask for memory, memory is given back to the system
LARGE_FILE = 1 << 20
# scans x pixels of a JPEG that a decoder reads at once; more is something for those who have time
QUICK_WORK = 12 << 20
# how often each pixel of the largest picture may be gone through: a progressive JPEG has some ten scans
MAX_SCANS = 12
# tags of TIFF
BITS_PER_SAMPLE, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH = 258, 278, 322, 323
PLUGINS = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)


def main() -> None:
    """Fork decoders until the other end of standard input is closed; then end those that are left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the service, which ends its decoders itself
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None  # the bound is our own
    prepare()
    gc.freeze()
    children: set[int] = set()
    try:
        with socket.socket(fileno=0) as control, suppress(ConnectionError):
            control.sendall(REPLY.pack(0))
            while _command(control, children):
                pass
    finally:  # the service may have been killed while they are busy
        for pid in children:
            os.kill(pid, signal.SIGKILL)  # nobody has waited for it, so the number is still its own
        for pid in children:
            os.waitpid(pid, 0)


def _command(control: socket.socket, children: set[int]) -> bool:
    """Whether there will be another one."""
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
    except OSError as error:  # such as too many processes: those that are there go on
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
    """Be a decoder until the other end of the socket is closed."""
    os.nice(NICE)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 2)  # C libraries have much to say about broken pictures
    idle = allocated_bytes()
    with socket.socket(fileno=number) as connection, suppress(ConnectionError):
        while _serve_one(connection, idle):
            pass
    os._exit(0)


def _serve_one(connection: socket.socket, idle: int) -> bool:
    """Whether there will be another one."""
    head = _receive(connection, REQUEST.size)
    if len(head) < REQUEST.size:
        return False
    length, size, opening, granted, seconds = REQUEST.unpack(head)
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
        return False  # what is left of its memory may be in pieces
    _limit_time(0)
    if answer[0]:
        connection.sendall(ANSWER.pack(answer[0], len(answer[1])) + answer[1])
    if size > LARGE_FILE or granted == 0:
        trim()
    return True


def _decode(
    connection: socket.socket, size: int, what: dict[str, Any], idle: int, granted: int, seconds: float
) -> tuple[bytes, bytes]:
    """Kind and content of the answer; no kind when the other end does not want it any more."""
    spec, max_pixels, spent = Preprocessing(*what["spec"]), what["max_pixels"], what["spent"]
    data = _receive(connection, size)
    if len(data) < size:
        raise ConnectionError
    canvas, work, image = webp_size(data), 0, None
    if canvas is None:
        image = codecs.open_picture(data, max_pixels)
        canvas = image.size
        work = canvas[0] * canvas[1] * (data.count(b"\xff\xda") if image.format in ("JPEG", "MPO") else 1)
        cost = size + _cost(image, spec, work)
        del data  # the picture may be of a shorter copy
    else:  # its decoder makes two canvases as soon as it is opened
        codecs.check_size(*canvas, max_pixels)
        cost = 4 * size + 18 * canvas[0] * canvas[1]
    pixels = canvas[0] * canvas[1]
    codecs.check_sum(spent + pixels, max_pixels, None)
    if work > MAX_SCANS * max_pixels:
        raise TooCostly(
            f"the scans of the JPEG, one after the other, go through {work} pixels, at most {MAX_SCANS} times "
            f"{max_pixels} are allowed (VAE_MAX_PIXELS): save it with fewer scans"
        )
    if cost > granted or work > QUICK_WORK:
        _limit_time(0)
        connection.sendall(ANSWER.pack(NEED, NUMBER.size) + NUMBER.pack(cost))
        told = _receive(connection, NUMBER.size)
        if len(told) < NUMBER.size:
            raise ConnectionError
        (granted,) = NUMBER.unpack(told)
        if not granted:
            return b"", b""
        _limit_time(seconds)
    _allow(idle + granted + SLACK_BYTES)
    if image is None:
        image = codecs.open_picture(data, max_pixels)
    return PIXELS, NUMBER.pack(pixels) + codecs.picture_pixels(image, spec).tobytes()


def _cost(image: Image.Image, spec: Preprocessing, work: int) -> int:
    """Bytes that decoding an opened picture takes beside its file, as measured for each format."""
    pixels, beside = image.width * image.height, 0
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        if work > pixels or "progressive" in image.info:  # all coefficients are kept until the last scan
            most = max(v * h for _, v, h, _ in image.layer) or 1
            beside = 2 * pixels * sum(v * h for _, v, h, _ in image.layer) // most
    elif isinstance(image, TiffImagePlugin.TiffImageFile) and image.info.get("compression") != "raw":
        beside = _strip_bytes(image)
    elif image.format == "BMP" and image.tile and image.tile[0][0] != "raw":  # type: ignore[attr-defined]
        beside = 3 * pixels  # runs are put together by Python
    draft(image, spec)
    width, height = image.size
    tables = 56 * (width + height) + 16 * spec.height * spec.width  # of resampling, and what it makes
    return width * height * _bytes_per_pixel(image) + beside + tables


def _strip_bytes(image: TiffImagePlugin.TiffImageFile) -> int:
    """Of a strip or tile that is decompressed, before it becomes pixels."""
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
    """Of Pillow's pictures in memory."""
    return 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4


def _is_of_memory(error: BaseException) -> bool:
    return isinstance(error.__cause__ or error.__context__, MemoryError) or "out of memory" in str(error)


def _receive(connection: socket.socket, size: int) -> bytes:
    """So many bytes; fewer when the other end was closed."""
    first = connection.recv(size, socket.MSG_WAITALL) if size else b""
    if len(first) in (0, size):
        return first
    parts, missing = [first], size - len(first)
    while missing and (part := connection.recv(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def allocated_bytes() -> int:
    """Of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
    except (OSError, StopIteration):
        return 0


def _allow(size: int) -> None:
    """Let this process have no more than so many bytes."""
    if sys.platform == "linux":  # others do not count what is mapped: there it is computed, but not enforced
        resource.setrlimit(resource.RLIMIT_DATA, (size, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _limit_time(seconds: float) -> None:
    """End this process after a little more than so many seconds, should nobody be left to do it; 0: never."""
    signal.setitimer(signal.ITIMER_REAL, seconds and seconds + 1)
