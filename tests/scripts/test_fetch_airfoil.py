"""The airfoil set arrives complete and verified, whatever the network or the remote file does."""

import importlib.util
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest
import tfrecord

SCRIPT = Path(__file__).parents[2] / "scripts" / "fetch_airfoil.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch_airfoil", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Bucket(ThreadingHTTPServer):
    """Serves `files`, logs (name, Range) in `asked`; `parts`: sends ranges; `breaks_after`: bytes before it breaks off.

    `wrong_by`: byte offset error of ranges; `says_length`: sends the length header.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requested: list[tuple[str, str | None]] = []
        self.parts = True
        self.breaks_after: int | None = None
        self.wrong_by = 0
        self.says_length = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/airfoil"


class Handler(BaseHTTPRequestHandler):
    server: Bucket

    def do_GET(self) -> None:
        name, wanted = self.path.removeprefix("/airfoil/"), self.headers.get("Range")
        self.server.requested.append((name, wanted))
        if name not in self.server.files:
            self.send_error(404)
            return
        content, begin = self.server.files[name], 0
        if wanted and self.server.parts:
            begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if begin >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin + self.server.wrong_by}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.server.says_length:
            self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin : self.server.breaks_after])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    with Bucket() as server:
        entry = {"type": "static", "shape": [1, -1, 3], "dtype": "int32"}
        meta = {"dt": 0.008, "trajectory_length": 601, "field_names": ["cells"], "features": {"cells": entry}}
        server.files["meta.json"] = json.dumps(meta).encode()
        for name, count in (("train.tfrecord", 5), ("test.tfrecord", 2)):
            writer = tfrecord.TFRecordWriter(str(tmp_path / "source"))
            for n in range(count):
                writer.write({"cells": (bytes([n]) * 1000, "byte")})
            writer.close()
            server.files[name] = (tmp_path / "source").read_bytes()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "airfoil"


def fails(script: ModuleType, bucket: Bucket, folder: Path) -> str:
    with pytest.raises(SystemExit) as stopped:
        script.main([str(folder), "--url", bucket.url])
    line = stopped.value.code
    assert isinstance(line, str)
    assert "\n" not in line
    return line


def check(bucket: Bucket, folder: Path) -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == bucket.files


def test_all_three_files_arrive(script, bucket: Bucket, folder: Path, capsys) -> None:
    script.main([str(folder), "--url", bucket.url])
    check(bucket, folder)
    assert bucket.requested == [("meta.json", None), ("train.tfrecord", None), ("test.tfrecord", None)]
    script.main([str(folder), "--url", bucket.url])
    assert len(bucket.requested) == 3  # existing files are not requested
    assert capsys.readouterr().out.count("already exists") == 3


def test_selected_files_only(script, bucket: Bucket, folder: Path) -> None:
    script.main([str(folder), "--url", bucket.url, "--files", "test.tfrecord"])
    assert [path.name for path in folder.iterdir()] == ["test.tfrecord"]


def test_resumes_where_it_stopped(script, bucket: Bucket, folder: Path) -> None:
    bucket.breaks_after = 2500
    line = fails(script, bucket, folder)
    total = len(bucket.files["train.tfrecord"])
    assert f"/train.tfrecord: the connection broke (after 2,500 of {total:,} bytes)" in line
    assert (folder / "train.tfrecord.part").read_bytes() == bucket.files["train.tfrecord"][:2500]
    assert not (folder / "train.tfrecord").exists()
    bucket.breaks_after, bucket.requested = None, []
    script.main([str(folder), "--url", bucket.url])
    check(bucket, folder)
    assert bucket.requested == [("train.tfrecord", "bytes=2500-"), ("test.tfrecord", None)]


def test_starts_over_when_ranges_are_not_supported(script, bucket: Bucket, folder: Path) -> None:
    bucket.breaks_after = 2500
    fails(script, bucket, folder)
    bucket.breaks_after, bucket.parts = None, False
    script.main([str(folder), "--url", bucket.url])
    check(bucket, folder)


def test_wrong_byte_ranges_are_refused(script, bucket: Bucket, folder: Path) -> None:
    bucket.breaks_after = 2500
    fails(script, bucket, folder)
    bucket.breaks_after, bucket.wrong_by = None, 1
    assert "requested the bytes from 2500 on, the response has others" in fails(script, bucket, folder)
    assert (folder / "train.tfrecord.part").stat().st_size == 2500


def test_an_unknown_length_is_refused(script, bucket: Bucket, folder: Path) -> None:
    bucket.says_length = False
    assert "does not give the file's length" in fails(script, bucket, folder)


def test_complete_but_not_yet_verified(script, bucket: Bucket, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "train.tfrecord.part").write_bytes(bucket.files["train.tfrecord"])
    script.main([str(folder), "--url", bucket.url])
    check(bucket, folder)


def test_longer_than_the_source(script, bucket: Bucket, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "train.tfrecord.part").write_bytes(bucket.files["train.tfrecord"] + b"?")
    assert "train.tfrecord.part is longer than http" in fails(script, bucket, folder)
    script.main([str(folder), "--url", bucket.url])
    check(bucket, folder)


def test_a_damaged_file_is_rejected_and_its_valid_part_is_kept(script, bucket: Bucket, folder: Path) -> None:
    sound = bucket.files["train.tfrecord"]
    record = len(sound) // 5
    damaged = bytearray(sound)
    damaged[3 * record + 500] ^= 1
    bucket.files["train.tfrecord"] = bytes(damaged)
    line = fails(script, bucket, folder)
    assert f"train.tfrecord.part: record 3 at byte {3 * record}: its " in line
    assert not (folder / "train.tfrecord").exists()
    assert (folder / "train.tfrecord.part").read_bytes() == sound[: 3 * record]
    bucket.files["train.tfrecord"], bucket.requested = sound, []
    script.main([str(folder), "--url", bucket.url])
    check(bucket, folder)
    assert bucket.requested[0] == ("train.tfrecord", f"bytes={3 * record}-")


def test_a_meta_file_of_another_format_is_rejected(script, bucket: Bucket, folder: Path) -> None:
    bucket.files["meta.json"] = b"<html>sign in</html>"
    assert "is not a meta.json of MeshGraphNets" in fails(script, bucket, folder)
    assert list(folder.iterdir()) == []


def test_an_unreachable_server_error_names_the_substitute(script, bucket: Bucket, folder: Path) -> None:
    del bucket.files["meta.json"]
    line = fails(script, bucket, folder)
    assert "/meta.json: HTTP 404" in line
    assert "data=airfoil_euler" in line
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SystemExit, match=r"meta.json is unreachable .*data=airfoil_euler"):
            script.main([str(folder), "--url", f"http://127.0.0.1:{taken.getsockname()[1]}/airfoil"])


def test_a_timeout_counts_as_unreachable(script, folder: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(SystemExit, match="timed out"):
            script.main([str(folder), "--url", f"http://127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.2"])


def test_a_full_disk_is_detected_first(script, bucket: Bucket, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(script.shutil, "disk_usage", lambda path: usage)
    assert "meta.json.part needs" in fails(script, bucket, folder)
    assert not (folder / "meta.json.part").exists()
