"""Fetching published data, from a server on this machine that does what servers do."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lthlib.errors import TaskError
from lthlib.lab import datasets
from lthlib.lab.archives import unpack
from lthlib.lab.datasets import DATA_SETS, DataSet, RemoteFile

CONTENT = bytes(range(256)) * 40


class Server(BaseHTTPRequestHandler):
    """Paths say what it does; `asked` keeps the ranges that were asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.asked.append(asked)
        what = self.path.strip("/")
        if what == "missing":
            self.send_error(404)
        elif what == "html":
            self.answer(b"<!DOCTYPE html><html>sign in, please</html>")
        elif what == "endless":
            self.answer(CONTENT * 400)
        elif what == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000])
        elif what == "slow" and not asked:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000])
            self.wfile.flush()
            time.sleep(1)
        elif what == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
        elif asked and what in ("file", "slow"):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(CONTENT):
                self.send_error(416)
            else:
                self.answer(CONTENT[start:], 206)
        else:
            self.answer(CONTENT)

    def answer(self, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(datasets, "SCHEMES", ("http",))
    Server.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def offered(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    file = RemoteFile("made/up.bin", url, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    monkeypatch.setattr(
        datasets, "DATA_SETS", {"made-up": DataSet("a test", "free to use", (file,))}
    )


def fetch(folder: Path) -> list[Path]:
    return datasets.get("made-up", folder, progress=False)


def test_a_file_is_fetched_checked_and_not_fetched_again(
    address: str, monkeypatch: Any, tmp_path: Path, capsys: Any
) -> None:
    offered(monkeypatch, f"{address}/file")
    assert datasets.state("made-up", tmp_path) == "not there"
    (path,) = fetch(tmp_path)
    assert path == tmp_path / "made" / "up.bin" and path.read_bytes() == CONTENT
    assert "Licence: free to use." in capsys.readouterr().out
    assert fetch(tmp_path) == [path] and Server.asked == [""]
    assert datasets.state("made-up", tmp_path) == "complete"
    assert [p.name for p in path.parent.iterdir()] == ["up.bin"]


def test_it_goes_on_where_it_stopped(address: str, monkeypatch: Any, tmp_path: Path) -> None:
    part = tmp_path / "made" / "up.bin.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT[:3000])
    offered(monkeypatch, f"{address}/file")
    assert fetch(tmp_path)[0].read_bytes() == CONTENT
    assert Server.asked == ["bytes=3000-"] and not part.exists()
    fetch(tmp_path)[0].rename(part)
    assert fetch(tmp_path)[0].read_bytes() == CONTENT and Server.asked[1:] == ["bytes=10240-"]


def test_a_server_that_falls_silent_is_left_and_what_it_sent_is_kept(
    address: str, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(datasets, "TIMEOUT", 0.3)
    monkeypatch.setattr(datasets, "CHUNK", 500)
    offered(monkeypatch, f"{address}/slow")
    with pytest.raises(TaskError, match="cannot be fetched"):
        fetch(tmp_path)
    assert (tmp_path / "made" / "up.bin.part").stat().st_size > 0
    assert fetch(tmp_path)[0].read_bytes() == CONTENT and Server.asked[-1].startswith("bytes=")


def test_a_server_that_cannot_go_on_sends_it_whole(
    address: str, monkeypatch: Any, tmp_path: Path
) -> None:
    part = tmp_path / "made" / "up.bin.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * 3000)
    offered(monkeypatch, f"{address}/whole")
    assert fetch(tmp_path)[0].read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("missing", "404"),
        ("html", "what was sent is another file"),
        ("endless", "larger than the 10,240 bytes it has"),
        ("cut", "cannot be fetched"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_no_file(
    address: str, monkeypatch: Any, tmp_path: Path, what: str, reason: str
) -> None:
    offered(monkeypatch, f"{address}/{what}")
    with pytest.raises(TaskError, match=reason) as refusal:
        fetch(tmp_path)
    said = str(refusal.value)
    assert "\n" not in said and hashlib.sha256(CONTENT).hexdigest() in said
    assert f"put it at {tmp_path / 'made' / 'up.bin'}" in said
    assert not (tmp_path / "made" / "up.bin").exists()


def test_after_a_cut_it_goes_on(address: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets, "CHUNK", 500)  # what a cut may cost
    offered(monkeypatch, f"{address}/cut")
    with pytest.raises(TaskError):
        fetch(tmp_path)
    offered(monkeypatch, f"{address}/file")
    assert fetch(tmp_path)[0].read_bytes() == CONTENT
    assert Server.asked[-1] == "bytes=1000-"


def test_only_https_is_followed(address: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets, "SCHEMES", ("https",))
    offered(monkeypatch, f"{address}/elsewhere")
    with pytest.raises(TaskError, match=r"which is not https"):
        fetch(tmp_path)


def test_without_a_network_it_says_what_to_do(monkeypatch: Any, tmp_path: Path) -> None:
    offered(monkeypatch, "http://127.0.0.1:9/file")
    with pytest.raises(TaskError, match="get it elsewhere and put it at"):
        fetch(tmp_path)


def test_another_file_under_its_name_is_not_overwritten(monkeypatch: Any, tmp_path: Path) -> None:
    offered(monkeypatch, "http://127.0.0.1:9/file")
    path = tmp_path / "made" / "up.bin"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(TaskError, match="not the published file"):
        fetch(tmp_path)
    assert path.read_bytes() == b"mine"


def test_an_unknown_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="did you mean 'open-i'"):
        datasets.get("openi", tmp_path)


def test_every_file_has_an_address_a_digest_and_a_place() -> None:
    files = [file for found in DATA_SETS.values() for file in found.files]
    assert len({file.path for file in files}) == len(files)
    for file in files:
        assert file.url.startswith("https://")
        # Nobody published the digests of VQA-CP: those files are put in place by hand.
        known = len(file.sha256) == 64 and file.size > 0
        assert known != (not file.sha256 and file.path.startswith("vqa-cp/"))
        assert not Path(file.path).is_absolute() and ".." not in Path(file.path).parts


# -- archives -------------------------------------------------------------------------------------
def archive(path: Path, members: dict[str, bytes | str], kind: str = "") -> Path:
    """A .tar.gz; text is where a link leads."""
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return path


def test_an_archive_is_unpacked_whole(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.tgz", {"in/a.txt": b"one", "b.txt": b"two"})
    unpack(made, tmp_path / "out", most_bytes=100)
    assert (tmp_path / "out" / "in" / "a.txt").read_bytes() == b"one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tgz", "out"]


@pytest.mark.parametrize(("mask", "modes"), [(0o077, (0o700, 0o600)), (0o002, (0o775, 0o664))])
def test_what_is_unpacked_has_the_modes_that_the_umask_leaves(
    tmp_path: Path, mask: int, modes: tuple[int, int]
) -> None:
    made = archive(tmp_path / "a.tgz", {"in/a.txt": b"one"})
    before = os.umask(mask)
    try:
        unpack(made, tmp_path / "out", most_bytes=100)
    finally:
        os.umask(before)
    found = [tmp_path / "out" / name for name in ("", "in", "in/a.txt")]
    assert [stat.S_IMODE(p.stat().st_mode) for p in found] == [modes[0], modes[0], modes[1]]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"ok.txt": b"1", "../out.txt": b"2"}, "leads out of its folder"),
        ({"/tmp/lth-absolute.txt": b"2"}, "leads out of its folder"),
        ({"a": b"1" * 60, "b": b"2" * 60}, "more than 100 bytes"),
        ({"link": "/etc/passwd"}, "is no file and no folder"),
        ({"bomb": b"\0" * 10_000_000}, "more than 100 bytes"),
    ],
)
def test_archives_that_do_harm_are_refused_and_leave_nothing(
    tmp_path: Path, members: dict[str, bytes | str], reason: str
) -> None:
    made = archive(tmp_path / "a.tgz", members)
    with pytest.raises(TaskError, match=reason):
        unpack(made, tmp_path / "out", most_bytes=100)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tgz"]
    assert not (tmp_path.parent / "out.txt").exists()
    assert not Path("/tmp/lth-absolute.txt").exists()


@pytest.mark.parametrize("cut", [0, 1, 20, 60])
def test_cut_archives_are_refused(tmp_path: Path, cut: int) -> None:
    made = archive(tmp_path / "a.tgz", {"a.txt": b"one" * 1000})
    made.write_bytes(made.read_bytes()[:cut] if cut else b"<html>no</html>")
    with pytest.raises(TaskError, match="damaged"):
        unpack(made, tmp_path / "out", most_bytes=10_000)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tgz"]


def test_a_data_set_that_comes_packed_is_unpacked_once(
    address: str, monkeypatch: Any, tmp_path: Path
) -> None:
    content = archive(tmp_path / "made.tgz", {"birds/a.txt": b"one"}).read_bytes()
    monkeypatch.setattr(sys.modules[__name__], "CONTENT", content)
    digest = hashlib.sha256(content).hexdigest()
    file = RemoteFile(
        "a/b.tgz", f"{address}/file", digest, len(content), unpacks_to="c", instead="c/birds/a.txt"
    )
    monkeypatch.setattr(datasets, "DATA_SETS", {"made-up": DataSet("a test", "free", (file,))})
    fetch(tmp_path)
    assert (tmp_path / "c" / "birds" / "a.txt").read_bytes() == b"one"
    (tmp_path / "c" / "birds" / "a.txt").write_text("mine")
    fetch(tmp_path)
    assert (tmp_path / "c" / "birds" / "a.txt").read_text() == "mine"


def test_what_nobody_gave_a_digest_of_is_put_in_place_by_hand(
    monkeypatch: Any, tmp_path: Path
) -> None:
    files = tuple(RemoteFile(f"x/{name}", f"https://a.b/{name}") for name in ("one", "two"))
    monkeypatch.setattr(datasets, "DATA_SETS", {"made-up": DataSet("a test", "free", files)})
    with pytest.raises(TaskError, match=r"nobody published the SHA-256 of https://a.b/one") as no:
        fetch(tmp_path)
    assert f"put them into {tmp_path / 'x'}" in str(no.value) and "\n" not in str(no.value)
    (tmp_path / "x").mkdir()
    for name in ("one", "two"):
        (tmp_path / "x" / name).write_text("mine")
    assert [path.name for path in fetch(tmp_path)] == ["one", "two"]
