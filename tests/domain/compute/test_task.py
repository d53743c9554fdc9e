"""What parent and child say to each other."""

from __future__ import annotations

from domain.compute.task import LENGTH_SIZE, Ran, decode_report, frame


def test_what_a_run_wrote_is_read_without_a_copy() -> None:
    """Or one report of 200 MiB holds up all that a node does, for as long as the copying takes."""
    output = memoryview(bytes(1 << 20))
    sent = Ran("in", "ok", 7, 0, "", output, b"said", [("one", output), ("two", output[:1000])])
    body = bytearray(frame(sent)[LENGTH_SIZE:])
    read = decode_report(body)
    assert read == sent
    assert isinstance(read, Ran)
    assert all(data.obj is body for data in (read.stdout, *(data for _, data in read.files)))
