"""Metrics of several processes in one directory: totals of all, gauges of those that live; and the directory itself."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.observe.histogram import Counted
from service.observe.metrics import Family
from service.observe.prometheus import process_families, render
from service.observe.shared_metrics import SharedMetrics, combine
from service.server import metrics_directory as shared_directory


def families(number: float) -> list[Family]:
    """Return the metric families of a process that has counted so many of each."""
    counted = Counted((1.0, 2.5), (int(number), 0, 2), 10 * number)
    below = Counted((-1.0, 1.0), (int(number), 1, 0), -number)
    return [
        Family("vae_rows_total", "counter", "Rows.", ("model", "lane"), {("a", "encode"): number, ('"b"\n', "encode"): 1}),
        Family("vae_queued_rows", "gauge", "Rows.", ("model",), {("a",): number}),
        Family("vae_ready", "gauge", "Ready.", (), {(): number > 5}, "min"),
        Family("vae_model_info", "gauge", "Info.", ("model",), {("a",): 1}, "max"),
        Family("vae_seconds", "histogram", "Seconds.", ("model",), {("a",): counted}),
        Family("vae_nats", "histogram", "Nats.", (), {(): below}),
    ]


def read(shared: SharedMetrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and the values of its labels."""
    body, _ = render(shared.of_all(), "")
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def gone() -> int:
    """The number of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_processes_add_up_and_the_dead_leave_their_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    living = SharedMetrics(tmp_path)
    monkeypatch.setattr(os, "getpid", os.getppid)  # another process, which lives as well
    other = SharedMetrics(tmp_path)
    living.publish(families(3))
    living.publish([*families(10), *process_families()])
    other.publish([*families(4), *process_families()])
    expected = {
        ("vae_rows_total", ("encode", "a")): 14,
        ("vae_rows_total", ("encode", '"b"\n')): 2,
        ("vae_queued_rows", ("a",)): 14,
        ("vae_ready", ()): 0,
        ("vae_model_info", ("a",)): 1,
        ("vae_seconds_bucket", ("1.0", "a")): 14,
        ("vae_seconds_bucket", ("2.5", "a")): 14,
        ("vae_seconds_bucket", ("+Inf", "a")): 18,
        ("vae_seconds_count", ("a",)): 18,
        ("vae_seconds_sum", ("a",)): 140,
    }
    found = read(living)
    assert {key: found[key] for key in expected} == expected
    assert found["vae_nats_bucket", ("+Inf",)] == 16
    assert ("vae_nats_sum", ()) not in found  # it may fall, and is no counter
    memory = found["process_resident_memory_bytes", ()]
    assert found["process_start_time_seconds", ()] < time.time()
    other.leave()
    found = read(living)
    assert 0.4 * memory < found["process_resident_memory_bytes", ()] < 0.6 * memory
    assert found["vae_rows_total", ("encode", "a")] == 14
    assert (found["vae_queued_rows", ("a",)], found["vae_ready", ()]) == (10, 1)


def test_gauges_of_a_process_that_was_killed_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = gone()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: pid)
        SharedMetrics(tmp_path).publish(families(4))
    shared = SharedMetrics(tmp_path)
    shared.publish(families(10))
    for _ in range(2):
        found = read(shared)
        assert (found["vae_rows_total", ("encode", "a")], found["vae_queued_rows", ("a",)]) == (14, 10)
        (left,) = tmp_path.glob(f"{pid}-*.json")
        assert {one["kind"] for one in json.loads(left.read_bytes())} == {"counter", "histogram"}
    assert len(list(tmp_path.iterdir())) == 2


def test_another_process_with_the_same_id_adds_to_what_the_first_has_counted(tmp_path: Path) -> None:
    first = SharedMetrics(tmp_path)
    first.publish(families(4))
    first.leave()
    second = SharedMetrics(tmp_path)
    second.publish(families(10))
    found = read(second)
    assert (found["vae_rows_total", ("encode", "a")], found["vae_queued_rows", ("a",)]) == (14, 10)


def test_histograms_with_other_bounds_add_up() -> None:
    def nats(*bounds: float) -> list[Family]:
        counted = Counted(bounds, tuple(range(1, len(bounds) + 2)), 1.5)
        return [Family("vae_nats", "histogram", "Nats.", (), {(): counted})]

    (family,) = combine([nats(1.0, 2.0), nats(1.0, 2.0), nats(0.5, 2.0, 3.0)])
    assert family.samples == {(): Counted((0.5, 1.0, 2.0, 3.0), (1, 2, 6, 3, 10), 4.5)}


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    writer, reader, is_done = SharedMetrics(tmp_path), SharedMetrics(tmp_path), threading.Event()
    reader.publish(families(0))
    writer.publish(families(1))

    def write() -> None:
        for number in range(2, 100):
            writer.publish(families(number))
        is_done.set()

    thread = threading.Thread(target=write)
    thread.start()
    last = 0.0
    while not is_done.is_set():
        found = read(reader)
        rows = found["vae_rows_total", ("encode", "a")]
        assert rows == found["vae_queued_rows", ("a",)] >= last
        last = rows
    thread.join()


def test_a_full_disk_is_logged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    shared = SharedMetrics(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        for _ in range(3):
            shared.publish(families(1))
        shared.leave()
    (message,) = caplog.messages
    assert "could not be shared" in message
    assert "No space left" in message
    shared.publish(families(2))
    assert read(shared)["vae_rows_total", ("encode", "a")] == 2


def test_the_directory_is_fresh_private_and_gone_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_directory, "PREFERRED", tmp_path)
    left, strange = tmp_path / f"{shared_directory.PREFIX}{gone()}-abc", tmp_path / f"{shared_directory.PREFIX}x-abc"
    alive = tmp_path / f"{shared_directory.PREFIX}{os.getpid()}-abc"
    for directory in (left, strange, alive):
        directory.mkdir()
        (directory / "1-a.json").write_bytes(b"x")
    with shared_directory.shared_directory() as one, shared_directory.shared_directory() as other:
        assert one != other
        assert list(one.iterdir()) == []
        assert one.stat().st_mode & 0o777 == 0o700
        (one / "file").write_bytes(b"x")
    assert sorted(tmp_path.iterdir()) == sorted([strange, alive])


def test_where_memory_is_not_writable_it_is_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_directory, "PREFERRED", tmp_path / "nowhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with shared_directory.shared_directory() as one:
        assert one.parent == tmp_path
