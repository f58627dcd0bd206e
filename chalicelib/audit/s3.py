"""An S3 bucket as the place for logs and archives: uploads in parts, which another process can continue.

boto3 is imported when the first log is written, so no command waits for it. Credentials, region and endpoint are
boto3's own settings.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, BinaryIO

from chalicelib.audit.places import BLOCK_BYTES, MIN_PART_BYTES, PlaceError

_READ_BYTES = 256 * 1024
_PARTS_A_SIZE = 1_000
_MAX_PARTS = 10_000
_CHECKSUM = "CRC32"
_AWS = ".amazonaws.com"


class Bucket:
    """The files in a bucket under a prefix. Every method that calls S3 raises PlaceError.

    With `owner`, an AWS account, S3 refuses access if the bucket belongs to another account.
    """

    resumable = True
    has_links = True

    def __init__(self, bucket: str, prefix: str, link_seconds: int, owner: str | None = None) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._link_seconds = link_seconds
        self._owner = {} if owner is None else {"ExpectedBucketOwner": owner}

    @cached_property
    def _client(self) -> Any:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415

        retries = {"mode": "standard", "max_attempts": 5}
        config = Config(signature_version="s3v4", retries=retries, connect_timeout=5, read_timeout=30)
        with _place_errors():
            client = boto3.client("s3", config=config)
            if _AWS in client.meta.endpoint_url:
                # Otherwise links are signed for a host without a region, at which a bucket in a new region is not
                # found.
                client = boto3.client("s3", config=config.merge(Config(s3={"addressing_style": "virtual"})))
            return client

    def location(self, path: str) -> str:
        """Return the address of a file."""
        return f"s3://{self._bucket}/{self._prefix}{path}"

    public_location = location

    def link(self, path: str) -> str | None:
        """Return a URL that needs no credentials, valid as long as the setting and the signing credentials allow."""
        params = {
            "Bucket": self._bucket,
            "Key": self._prefix + path,
        }  # a bucket owner would be a header, which browsers do not send
        with _place_errors():
            link: str = self._client.generate_presigned_url("get_object", Params=params, ExpiresIn=self._link_seconds)
        return link

    def writer(self, path: str) -> "PartsWriter":
        """Begin a file; nothing is sent before there is data."""
        return PartsWriter(self._client, self._name(path))

    def resume(self, path: str, state: Mapping[str, Any]) -> "PartsWriter":
        """Continue a file after the parts that S3 has."""
        return PartsWriter(self._client, self._name(path), state["upload"], state["parts"])

    def open(self, path: str) -> BinaryIO:
        """Open a file that is read in blocks, each requested when needed: no connection is held open in between."""
        return io.BufferedReader(_Blocks(self._client, self._name(path)), _READ_BYTES)

    def size(self, folder: str, without: str) -> int:
        """Return the size of the complete files."""
        asked = {"Bucket": self._bucket, "Prefix": f"{self._prefix}{folder}/", **self._owner}
        with _place_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(**asked)
            files = [file for page in pages for file in page.get("Contents", ())]
        return sum(max(BLOCK_BYTES, file["Size"]) for file in files if file["Key"] != self._prefix + without)

    def remove(self, path: str) -> None:
        """Remove a file."""
        with _place_errors():
            self._client.delete_object(**self._name(path))

    def _name(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + path, **self._owner}


class PartsWriter:
    """Writes a file in parts, or in one request if it is smaller than a part."""

    def __init__(self, client: Any, name: Mapping[str, str], upload: str | None = None, parts: int = 0) -> None:
        self._client = client
        self._name = name
        self._upload = upload
        self._parts = parts
        self._waiting: list[bytes] = []
        self._finished = False

    @property
    def state(self) -> Mapping[str, Any] | None:
        """Return the upload and its number of parts; None without an upload, or if data is still buffered here."""
        return None if self._upload is None or self._waiting else {"upload": self._upload, "parts": self._parts}

    def add(self, piece: bytes) -> None:
        """Send the buffered data as a part; what is buffered at the end is the last part, or the whole file."""
        if self._parts + 1 >= _MAX_PARTS:
            raise PlaceError("the log is larger than S3 takes")
        self._waiting.append(piece)
        if sum(map(len, self._waiting)) >= self._part_bytes():
            self._send()

    def finish(self) -> None:
        """Complete the upload."""
        with _place_errors():
            if self._upload is None:
                self._client.put_object(**self._name, Body=b"".join(self._waiting), **self._content())
            else:
                if self._waiting:
                    self._send()
                parts = list(self._sent())
                self._client.complete_multipart_upload(**self._of_upload(), MultipartUpload={"Parts": parts})
        self._finished = True

    def abort(self) -> None:
        """Abort the upload: S3 would keep its parts, and bill them, for ever."""
        if self._upload is not None and not self._finished:
            with _place_errors():
                self._client.abort_multipart_upload(**self._of_upload())

    def _part_bytes(self) -> int:
        """Return the size of the next part: S3 takes 10,000 parts, so they grow with the file."""
        return MIN_PART_BYTES * (1 + self._parts // _PARTS_A_SIZE)

    def _send(self) -> None:
        with _place_errors():
            if self._upload is None:
                begun = self._client.create_multipart_upload(
                    **self._name, ChecksumAlgorithm=_CHECKSUM, **self._content()
                )
                self._upload = begun["UploadId"]
            self._client.upload_part(
                **self._of_upload(),
                PartNumber=self._parts + 1,
                Body=b"".join(self._waiting),
                ChecksumAlgorithm=_CHECKSUM,
            )
        self._parts += 1
        self._waiting = []

    def _sent(self) -> Iterator[dict[str, Any]]:
        """Yield the parts as S3 lists them, including those sent by an earlier process."""
        pages = self._client.get_paginator("list_parts").paginate(**self._of_upload())
        for part in (part for page in pages for part in page.get("Parts", ())):
            if part["PartNumber"] <= self._parts:
                checksum = {name: part[name] for name in (f"Checksum{_CHECKSUM}",) if name in part}
                yield {"PartNumber": part["PartNumber"], "ETag": part["ETag"], **checksum}

    def _content(self) -> dict[str, str]:
        return {"ContentType": "application/gzip" if self._name["Key"].endswith(".gz") else "application/xml"}

    def _of_upload(self) -> dict[str, str]:
        assert self._upload is not None
        return {**self._name, "UploadId": self._upload}


class _Blocks(io.RawIOBase):
    """A file in S3, read front to back by ranges."""

    def __init__(self, client: Any, name: Mapping[str, str]) -> None:
        self._client = client
        self._name = name
        self._offset = 0
        with _place_errors():
            head = client.head_object(**name)
        self._length: int = head["ContentLength"]
        self._tag: str = head["ETag"]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        end = min(self._offset + len(buffer), self._length)
        if end == self._offset:
            return 0
        with _place_errors():
            asked = f"bytes={self._offset}-{end - 1}"
            block: bytes = self._client.get_object(**self._name, Range=asked, IfMatch=self._tag)["Body"].read()
        buffer[: len(block)] = block
        self._offset += len(block)
        return len(block)


@contextmanager
def _place_errors() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise PlaceError(str(error)) from error
