"""A pack in a bucket of an S3 server on this machine: read whole and in parts, refused without leave."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
import torch
from moto.server import ThreadedMotoServer

from handlit.data.packed import PackedData
from handlit.data.packing import remote
from handlit.data.packing.read import Pack
from handlit.errors import InputError
from tests.data.packing.packed_data import write_pack
from tests.data.packing.test_remote import images_of, room_for_one_chunk


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="module")
def server(packed: Path) -> Iterator[str]:
    """Address of a server whose bucket `hands` holds the pack, and `closed` too, which nobody may read."""
    with pytest.MonkeyPatch.context() as patch:
        set_credentials(patch)
        running = ThreadedMotoServer("127.0.0.1", 0)
        running.start()
        host, port = running.get_host_and_port()
        system = s3fs.S3FileSystem(endpoint_url=f"http://{host}:{port}", skip_instance_cache=True)
        for bucket in ("hands", "closed"):
            system.mkdir(bucket)
            system.put(f"{packed}/", f"{bucket}/pack/", recursive=True)
        denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::closed/*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [denied]})
        system.call_s3("put_bucket_policy", Bucket="closed", Policy=policy)
        yield f"http://{host}:{port}"
        running.stop()


def set_credentials(patch: pytest.MonkeyPatch) -> None:
    """Of nobody, and no file of anybody's."""
    patch.setenv("no_proxy", "*")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "nobody")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        patch.setenv(name, "/nowhere")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    set_credentials(monkeypatch)
    monkeypatch.setattr(remote, "PAUSE", 1000.0)


def test_batches_come_from_a_bucket(server: str, packed: Path, tmp_path: Path) -> None:
    expected = images_of(Pack(str(packed)))
    for name, room in (("whole", 200.0), ("parts", room_for_one_chunk(packed))):
        cache = str(tmp_path / name)
        pack = Pack("s3://hands/pack", cache, allow_http=True, max_gb=room, endpoint=server)
        assert images_of(pack) == expected
        chunks = list(pack.folder.rglob("*.tar"))
        assert len(chunks) == (3 if name == "whole" else 1)
    # in loader processes, which are forks of one that has used the driver
    streamed = PackedData(
        "s3://hands/pack", cache=cache, allow_http=True, max_gb=room, endpoint=server, image_size=48, num_workers=2
    )
    whole = PackedData(str(packed), image_size=48, num_workers=0)
    for module in (streamed, whole):
        module.setup("fit")
    for first, second in zip(streamed.train_dataloader(), whole.train_dataloader(), strict=True):
        assert torch.equal(first.image, second.image)


def test_what_may_not_be_read_is_one_line(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def message(url: str, **options: str) -> str:
        with pytest.raises((InputError, FileNotFoundError)) as caught:
            Pack(url, str(tmp_path), allow_http=True, endpoint=options.get("endpoint", server))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    closed = message("s3://closed/pack")
    assert closed.startswith("s3://closed/pack/pack.json cannot be fetched: ")
    assert "may not be read with these credentials" in closed
    assert "is missing" in message("s3://nowhere/pack")
    assert "http://127.0.0.1:1" in message("s3://hands/pack", endpoint="http://127.0.0.1:1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    # the driver keeps connections of one address
    s3fs.S3FileSystem.clear_instance_cache()
    assert "credentials" in message("s3://hands/pack")
    assert not list(tmp_path.iterdir())


def test_endpoints_are_of_buckets_and_encrypted(server: str, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not encrypted"):
        Pack("s3://hands/pack", str(tmp_path), endpoint=server)
    for place in ("https://there", str(packed)):
        with pytest.raises(InputError, match=r"an endpoint is the server of s3://"):
            Pack(place, str(tmp_path), endpoint=server)
