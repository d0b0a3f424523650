"""What is printed ends no command: characters that the encoding lacks, readers that leave, names that are too long."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interactify import cli
from interactify.commands.streams import Steady
from interactify.export.files import write_whole
from tests.commands.conftest import BUILD

CHINESE = "\u4e2d\u6587\u2192"


def test_characters_that_the_encoding_lacks_are_escaped():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "cp1252", newline="\n")
    print(f"{CHINESE} × …", file=Steady(stream), flush=True)
    assert raw.getvalue() == r"\u4e2d\u6587\u2192 × …".encode("cp1252") + b"\n"


def test_a_closed_pipe_ends_nothing():
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as stream:
        steady = Steady(stream)
        for _ in range(3):
            steady.write("words\n" * 20000)
            steady.flush()


def test_other_failures_of_a_stream_are_raised():
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        Steady(Full()).write("words")


def command(*words: str, **options: object) -> subprocess.Popen[bytes]:
    """The command line in a process of its own, whose network is in the current folder."""
    path = os.pathsep.join((str(Path.cwd()), str(Path(__file__).parents[2])))
    environment = {**os.environ, "PYTHONPATH": path, **options}
    return subprocess.Popen(
        [sys.executable, "-m", "interactify", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )


def test_a_reader_that_leaves_and_an_encoding_that_lacks_characters(folder):
    (folder / "photo.png").rename(folder / f"{CHINESE}.png")
    words = ("segment", f"{CHINESE}.png", "--click", "10,20", "--out", "out", "--format", "png,npy,coco", *BUILD)
    words += ("--mean", "0.5", "--std", "0.25")  # else a warning tells that they are assumed
    started = command(*words, PYTHONIOENCODING="cp1252")
    assert started.stdout is not None and started.stderr is not None
    started.stdout.readline()
    started.stdout.close()  # as `| head -n 1` does
    errors = started.stderr.read()
    started.stderr.close()
    assert started.wait() == 0 and not errors
    ends = ("-coco.json", "-mask.png", "-overlay.png", "-probability.npy")
    assert sorted(path.name for path in (folder / "out").iterdir()) == [f"{CHINESE}{end}" for end in ends]


def test_names_that_are_too_long_are_found_before_anything_is_written(folder, capsys):
    assert cli.main(["segment", "x" * 300 + ".png", *BUILD]) == 2
    error = capsys.readouterr().err
    assert error.startswith("interactify: error: ") and error.count("\n") == 1 and "too long" in error
    long = "y" * 245
    (folder / "photo.png").rename(folder / f"{long}.png")
    assert cli.main(["segment", f"{long}.png", "--out", "out", "--format", "yolo,npy", *BUILD]) == 2
    error = capsys.readouterr().err
    assert "at most 255 bytes" in error and error.count("\n") == 1 and not (folder / "out").exists()
    assert cli.main(["segment", f"{long[:230]}.png", *BUILD]) == 2  # no such file: one line too
    assert capsys.readouterr().err.count("\n") == 1


def test_a_long_name_is_written_whole_too(folder):
    for name in ("z" * 251 + ".png", "\u4e2d" * 83 + ".png"):
        path = write_whole(folder / name, b"content")
        assert path.read_bytes() == b"content"
    assert not [path for path in folder.iterdir() if path.name.endswith(".unfinished")]


def test_replay_checks_all_names_first(folder, capsys):
    assert cli.main(["segment", "photo.png", "--click", "10,20", "--log", *BUILD]) == 0
    long = folder / ("w" * 240 + ".png")
    (folder / "photo.png").rename(long)
    assert cli.main(["replay", "photo-log.jsonl", long.name, "--out", "again", "--format", "yolo,npy", *BUILD]) == 2
    assert "at most 255 bytes" in capsys.readouterr().err and not list((folder / "again").iterdir())
