"""A pack behind a URL: what arrives is bounded and checked, and every failure is one line without secrets."""

import http.server
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from handlit.cli.pack import pack as command
from handlit.data.packed import PackedData
from handlit.data.packing import remote
from handlit.data.packing.read import Pack
from handlit.data.packing.remote import RemoteFolder, without_secrets
from handlit.errors import InputError
from handlit.files import sha256
from handlit.formats.packed import MANIFEST
from tests.data.packing.packed_data import CHANGES, write_pack
from tests.processes import ranks

#: Answers a request in place of the file, and says whether it did.
Answer = Callable[[http.server.SimpleHTTPRequestHandler], bool]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture(autouse=True)
def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(autouse=True)
def no_further_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE", 1000.0)


@contextmanager
def served(folder: Path, answer: Answer = lambda _: False, port: int = 0, parts: bool = False) -> Iterator[str]:
    """The URL of a folder on this machine, perhaps of a server that sends parts of files."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            if answer(self):
                return
            span = self.headers["Range"]
            if not (parts and span):
                super().do_GET()
                return
            first, _, last = span.removeprefix("bytes=").partition("-")
            content = (folder / self.path[1:]).read_bytes()[int(first) : int(last) + 1 if last else None]
            self.send_response(206)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def refused(url: str, cache: Path, error: type[Exception] = InputError, **options: Any) -> str:
    """The message about a pack, which leaves no file in the cache but whole ones, and nothing beside it."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    beside = sorted(cache.parent.iterdir())
    with pytest.raises(error) as caught:
        Pack(url, str(cache), allow_http=True, **options).verify()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    assert not [path for path in cache.rglob("*") if ".part" in path.name]
    assert [path for path in sorted(cache.parent.iterdir()) if path != cache] == [p for p in beside if p != cache]
    return message


def test_a_chunk_is_fetched_when_it_is_needed(packed: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"image_size": 48, "batch_size": 4, "num_workers": 0, "augmentation": CHANGES}

    def first_batch(module: PackedData) -> torch.Tensor:
        module.setup("fit")
        image: torch.Tensor = next(iter(module.val_dataloader())).image
        return image

    with served(packed) as url:
        streaming = PackedData(url, cache=str(tmp_path), allow_http=True, **options)
        assert not list(tmp_path.rglob("*.tar"))
        streamed = first_batch(streaming)
    assert torch.equal(streamed, first_batch(PackedData(str(packed), **options)))
    # only the chunks that were needed; no half of one under any name
    chunks = {path.name for path in (streaming.pack.folder / "images").glob("*")}
    assert chunks == {f"0000{number}.tar{ending}" for number in (1, 2) for ending in ("", ".lock")}


def test_other_schemes_go_through_fsspec(packed: Path, tmp_path: Path) -> None:
    assert Pack(f"file://{packed}", str(tmp_path)).verify() == Pack(str(packed)).verify()
    with pytest.raises(InputError, match=r"nonsense://there/pack\.json cannot be fetched"):
        Pack("nonsense://there", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="expected the folder that"):
        Pack(f"file://{tmp_path}", str(tmp_path))


def test_unencrypted_addresses_are_for_whoever_asks(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in ("http://there", "HTTP://there", "ftp://there", "simplecache::http://there"):
        with pytest.raises(InputError, match="allow_http"):
            Pack(url)
    monkeypatch.setenv("HANDLIT_CACHE", str(tmp_path))
    with served(packed) as url:
        command(["--verify", url, "--allow_http"])
    assert "as they were packed" in capsys.readouterr().out


def test_redirects_lead_to_encrypted_addresses_only(packed: Path) -> None:
    def elsewhere(request: http.server.SimpleHTTPRequestHandler) -> bool:
        request.send_response(302)
        request.send_header("Location", "http://other/pack.json?signature=secret")
        request.end_headers()
        return True

    with served(packed, elsewhere) as url:
        folder = RemoteFolder(url, allow_http=True)
        folder.allow_http = False
        with pytest.raises(InputError, match=r"redirects to http://other/pack\.json, which is not encrypted"):
            list(folder.blocks(MANIFEST, 100))


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 416, 429, 500, 503, 302, 299])
@pytest.mark.parametrize("name", [MANIFEST, "labels/members.npy", "images/00001.tar"])
def test_every_answer_without_the_file_is_named(code: int, name: str, packed: Path, tmp_path: Path) -> None:
    def refuse(request: http.server.SimpleHTTPRequestHandler) -> bool:
        if request.path != f"/{name}":
            return False
        request.send_response(code, "no\x1b[31m")
        request.end_headers()
        request.wfile.write(b"<html>sign in</html>")
        return True

    with served(packed, refuse) as url:
        message = refused(url, tmp_path / "cache", FileNotFoundError if code == 404 else InputError)
    assert f"{url}/{name}" in message
    assert message.isprintable()


def body(content: bytes, length: int | None, repeats: int = 1, name: str = MANIFEST) -> Answer:
    """Answers with a content that has perhaps another length than its header says."""

    def send(request: http.server.SimpleHTTPRequestHandler) -> bool:
        if request.path != f"/{name}":
            return False
        request.send_response(200)
        if length is not None:
            request.send_header("Content-Length", str(length))
        request.end_headers()
        try:
            for _ in range(repeats):
                request.wfile.write(content)
        except OSError:
            # nobody listens any more
            pass
        return True

    return send


@pytest.mark.parametrize(
    "answer",
    [
        body(b"<!DOCTYPE html><html>sign in</html>", None),
        body(b"", 0),
        body(b'{"format": 1', 10_000),
        body(b"[" * 1000, None, 10_000_000),
        body(b"[" * 1000, 10**15, 10_000_000),
        body(bytes(1 << 16), None, 10**9, "labels/members.npy"),
        body(bytes(1 << 16), None, 10**9, "images/00001.tar"),
        body(b"short", 10_000, 1, "images/00001.tar"),
        body(b"", 0, 1, "labels/regions.npy"),
    ],
)
def test_bodies_are_bounded_and_checked(answer: Answer, packed: Path, tmp_path: Path) -> None:
    with served(packed, answer) as url:
        assert url in refused(url, tmp_path / "cache")


def test_servers_that_do_not_speak_end_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: Path) -> None:
    monkeypatch.setattr(remote, "SLOWEST", 1e6)
    end = threading.Event()

    def wait(request: http.server.SimpleHTTPRequestHandler) -> bool:
        return end.wait(5)

    def drip(request: http.server.SimpleHTTPRequestHandler) -> bool:
        request.send_response(200)
        request.end_headers()
        while not end.wait(0.05):
            request.wfile.write(b" ")
        return True

    for answer, reason in ((wait, "timed out"), (drip, "too slowly")):
        with served(packed, answer) as url:
            folder = RemoteFolder(url, allow_http=True)
            with pytest.raises(InputError, match=reason):
                list(folder.blocks(MANIFEST, 1000, patience=0.3))
            end.set()
        end.clear()
    # nobody there
    assert "refused" in refused(url, tmp_path / "cache")
    for bad in ("http://", "http://there:port", "http://\x7f", "http://127.0.0.1:1", "http://[", "http://.."):
        refused(bad, tmp_path / "cache")


@pytest.mark.parametrize("name", ["labels/../../../../x.txt", "/tmp/handlit_x.txt", "images/../../x.tar"])
def test_nothing_is_written_outside_of_the_cache(name: str, packed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(packed, tmp_path / "site"))
    content = json.loads((copy / MANIFEST).read_bytes())
    content["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    (copy / MANIFEST).write_text(json.dumps(content))
    with served(copy) as url:
        assert "no pack has" in refused(url, tmp_path / "a" / "b" / "cache")


def test_sizes_are_bounded_before_anything_is_written(packed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(packed, tmp_path / "site"))
    content = json.loads((copy / MANIFEST).read_bytes())
    with served(copy) as url:
        assert "max_gb" in refused(url, tmp_path / "cache", max_gb=1e-9)
        content["files"]["labels/val.npy"]["bytes"] = 60 << 30
        (copy / MANIFEST).write_text(json.dumps(content))
        assert "its labels alone" in refused(url, tmp_path / "cache", max_gb=60)
        del content["files"]["labels/digests.npy"]
        (copy / MANIFEST).write_text(json.dumps(content))
        assert "all of it would be downloaded" in refused(url, tmp_path / "cache", max_gb=60)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_packs_that_claim_one_identity_do_not_share_files(packed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(packed, tmp_path / "site"))
    content = json.loads((copy / MANIFEST).read_bytes())
    rows = copy / "labels" / "val.npy"
    rows.write_bytes(rows.read_bytes()[:-8] + bytes(8))
    content["files"]["labels/val.npy"]["sha256"] = sha256(rows)
    (copy / MANIFEST).write_text(json.dumps(content))
    with served(copy) as url, served(packed) as original:
        folders = {Pack(place, str(tmp_path / "cache"), allow_http=True).folder for place in (url, original)}
    assert len(folders) == 2


def test_passwords_travel_to_the_server_and_not_into_messages(packed: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, str | None]] = []

    def note(request: http.server.SimpleHTTPRequestHandler) -> bool:
        seen.append((request.path, request.headers["Authorization"]))
        request.send_error(403)
        return True

    with served(packed, note) as url:
        secret = url.replace("://", "://user:pass%20word@") + "/folder?signature=hidden"
        message = refused(secret, tmp_path / "cache")
    assert seen == [("/folder/pack.json?signature=hidden", "Basic dXNlcjpwYXNzIHdvcmQ=")]
    assert f"{url}/folder/pack.json" in message
    for text in (message, without_secrets("at https://a:b?c#d@host/x?y=z#w, then s3://k@bucket")):
        assert not any(part in text for part in ("user", "pass", "hidden", "b?c", "y=z", "k@"))


def test_a_cache_that_cannot_be_written_is_named(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with served(packed) as url, pytest.raises(InputError, match="cannot be written"):
        Pack(url, str(tmp_path / "file"), allow_http=True)


def room_for_one_chunk(packed: Path) -> float:
    """GB of the labels and the first chunk."""
    files = json.loads((packed / MANIFEST).read_bytes())["files"]
    return sum(files[name]["bytes"] for name in files if "labels" in name or "00000" in name) / 1e9


def images_of(pack: Pack) -> list[bytes]:
    return [pack.image(member).tobytes() for member in range(len(pack.members))]


def test_what_does_not_fit_into_the_cache_is_fetched_image_by_image(packed: Path, tmp_path: Path) -> None:
    asked: list[tuple[str, str | None]] = []

    def note(request: http.server.SimpleHTTPRequestHandler) -> bool:
        asked.append((request.path, request.headers["Range"]))
        return False

    room = room_for_one_chunk(packed)
    with served(packed, note, parts=True) as url:
        pack = Pack(url, str(tmp_path), allow_http=True, max_gb=room)
        assert images_of(pack) == images_of(Pack(str(packed)))
        module = PackedData(url, cache=str(tmp_path), allow_http=True, max_gb=room, image_size=48, num_workers=2)
        module.setup("fit")
        whole = PackedData(str(packed), image_size=48, num_workers=0)
        whole.setup("fit")
        for first, second in zip(module.val_dataloader(), whole.val_dataloader(), strict=True):
            assert torch.equal(first.image, second.image)
            assert torch.equal(first.hand_mask, second.hand_mask)
        assert pack.verify() == Pack(str(packed)).verify()
    kept = [path for path in tmp_path.rglob("*") if path.suffix in (".npy", ".tar")]
    assert sum(path.stat().st_size for path in kept) == round(room * 1e9)
    assert [path.name for path in kept if path.suffix == ".tar"] == ["00000.tar"]
    # of the other chunks not a byte more than their images have
    spans = [span for path, span in asked if path.endswith("1.tar") and span][:5]
    ends = [[int(end) for end in span.removeprefix("bytes=").split("-")] for span in spans]
    sizes = pack.members[5:10, 2].tolist()
    assert [last - first + 1 for first, last in ends] == sizes


def test_servers_without_parts_of_files_are_named(packed: Path, tmp_path: Path) -> None:
    with served(packed) as url:
        pack = Pack(url, str(tmp_path), allow_http=True, max_gb=room_for_one_chunk(packed))
        pack.image(0)
        with pytest.raises(InputError, match=r"00001\.tar: the server does not send parts of files"):
            pack.image(5)


def test_a_pack_that_changes_while_it_is_read_is_named(packed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(packed, tmp_path / "site"))
    with served(copy, parts=True) as url:
        kept = Pack(url, str(tmp_path / "cache"), allow_http=True)
        part = Pack(url, str(tmp_path / "other"), allow_http=True, max_gb=room_for_one_chunk(packed))
        local = Pack(str(copy))
        chunk = copy / "images" / "00001.tar"
        chunk.write_bytes(bytes(chunk.stat().st_size))
        for pack in (kept, part):
            with pytest.raises(InputError, match=r"00001\.tar is damaged"):
                pack.image(5)
        (copy / MANIFEST).write_text((copy / MANIFEST).read_text() + " ")
        for pack in (kept, part, local):
            with pytest.raises(InputError, match="changed while it was read: another pack lies there now"):
                pack.image(5)
    assert not list((tmp_path / "cache").rglob("*.tar"))


def test_a_server_that_goes_and_comes_back_is_waited_for(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(remote, "PAUSE", 0.1)
    faults = iter([503, 0, 0])

    def die(request: http.server.SimpleHTTPRequestHandler) -> bool:
        if not request.path.endswith("1.tar") or (code := next(faults, None)) is None:
            return False
        if code:
            request.send_error(code)
        else:
            # ends in the middle of the file
            content = (packed / request.path[1:]).read_bytes()
            request.send_response(200)
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content[:1000])
        return True

    expected = images_of(Pack(str(packed)))
    for parts in (False, True):
        faults = iter([503, 0, 0] if not parts else [503])
        with served(packed, die, parts=parts) as url:
            port = int(url.rpartition(":")[2])
            pack = Pack(url, str(tmp_path / str(parts)), allow_http=True)
            assert pack.image(5).tobytes() == expected[5]
        assert not list(pack.folder.rglob("*.part*"))
    assert "503" in caplog.text
    assert "trying again in 0.1 s" in caplog.text
    # nobody listens for a second
    ready = threading.Event()

    def come_back() -> None:
        ready.wait(1)
        with served(packed, port=port):
            ready.wait(30)

    thread = threading.Thread(target=come_back)
    thread.start()
    assert pack.image(10).tobytes() == expected[10]
    ready.set()
    thread.join()
    assert "refused" in caplog.text


def open_all(rank: int, url: str, cache: str, expected: list[bytes]) -> None:
    os.environ["no_proxy"] = "*"
    assert images_of(Pack(url, cache, allow_http=True)) == expected, rank


def test_four_processes_fetch_each_file_once_into_one_cache(packed: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def note(request: http.server.SimpleHTTPRequestHandler) -> bool:
        asked.append(request.path)
        return False

    with served(packed, note) as url:
        ranks(open_all, (url, str(tmp_path), images_of(Pack(str(packed)))), 4)
    files = json.loads((packed / MANIFEST).read_bytes())["files"]
    assert Counter(asked) == {f"/{MANIFEST}": 4, **{f"/{name}": 1 for name in files}}
