"""Fetches files of a packed dataset from where a stranger may answer: in blocks, bounded in size and time."""

import base64
import io
import logging
import re
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPMessage, IncompleteRead
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import fsspec
from typing_extensions import override

from handlit.errors import InputError
from handlit.reading import shown

log = logging.getLogger(__name__)

#: Seconds to wait for a connection and for each further byte, and for a server that was there to come back: by whoever
#: starts a run, and by a run that has started.
PATIENCE, LONG_PATIENCE = 8.0, 60.0
#: Bytes a second below which a server is given up after that.
SLOWEST = 10_000
#: Seconds before the first further try, and at most; each time twice as long.
PAUSE, LONGEST_PAUSE = 0.5, 8.0
_BLOCK = 1 << 20
#: Answers after which the next one may be another: too many requests, and faults of the server.
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class RemoteFolder:
    """A folder behind a URL.

    Args:
        url: ``https://``, or what fsspec knows: ``s3://``, ``gs://``, ``file://``, ...
        allow_http: Also what travels unencrypted, ``http://`` and ``ftp://``: whoever is in between can change it.
        endpoint: Address of the server that keeps ``s3://``; None for Amazon's, or what ``AWS_ENDPOINT_URL`` names.

    Raises:
        InputError: The URL is unencrypted, and that is not allowed; or an endpoint is given for something else.
    """

    def __init__(self, url: str, allow_http: bool = False, endpoint: str | None = None) -> None:
        self.url = url
        self.allow_http = allow_http
        self.endpoint = endpoint
        #: For messages: without passwords and signatures.
        self.shown = without_secrets(url).rstrip("/")
        self.is_s3 = re.match(r"s3a?://", url, re.IGNORECASE) is not None
        if endpoint is not None and not self.is_s3:
            raise InputError(f"{self.shown}: an endpoint is the server of s3://, other addresses name theirs")
        for address in (url, endpoint or ""):
            if not allow_http and re.search(r"(^|::)(http|ftp)://", address, re.IGNORECASE):
                raise InputError(
                    f"{without_secrets(address).rstrip('/')} is not encrypted, so that anybody in between can change "
                    "what arrives: use https://, or allow it with allow_http"
                )

    def blocks(self, name: str, most: int, patience: float = PATIENCE, comes_back: bool = True) -> Iterator[bytes]:
        """The content of a file, in blocks; where the connection is lost, it goes on behind what has come.

        Args:
            name: Relative to the folder.
            most: Bytes.
            patience: Seconds to wait for an answer, for each further byte, and for a server that is away.
            comes_back: Whether a server that is away is waited for; not one that never answered.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: Nobody answers, or not with the file; it has more bytes, or comes too slowly.
        """
        return self._trying(name, (0, None), most, patience if comes_back else 0.0, patience)

    def part(self, name: str, start: int, count: int, patience: float = PATIENCE) -> bytes:
        """Some bytes of a file; as `blocks`, from servers that send parts of files.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: Nobody answers, or not with these bytes.
        """
        if not count:
            return b""
        return b"".join(self._trying(name, (start, start + count), count, patience, patience))

    def _trying(
        self, name: str, span: tuple[int, int | None], most: int, away: float, patience: float
    ) -> Iterator[bytes]:
        """The bytes of a file from one position to another, with further tries while a server is away."""
        where, count, pause, lost = f"{self.shown}/{name}", 0, PAUSE, None
        while True:
            try:
                for block in self._stream(name, (span[0] + count, span[1]), most - count, patience):
                    count, pause, lost = count + len(block), PAUSE, None
                    yield block
                return
            except InputError:
                raise
            # drivers of object storage raise exceptions of their own
            except Exception as error:
                lost = lost or time.monotonic()
                if not _may_pass(error) or time.monotonic() + pause > lost + away:
                    raise self._refused(where, error) from error
                log.warning("%s: %s; trying again in %.1f s", where, _reason(error), pause)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _stream(self, name: str, span: tuple[int, int | None], most: int, patience: float) -> Iterator[bytes]:
        """One answer, in blocks of at most so many bytes together."""
        where, count, begun = f"{self.shown}/{name}", 0, time.monotonic()
        with self._open(name, patience, *span) as source:
            while block := _read(source):
                count += len(block)
                if count > most:
                    raise InputError(
                        f"{where} has more bytes than are expected, by at least {count - most}: upload it again"
                    )
                if time.monotonic() - begun > patience + count / SLOWEST:
                    raise InputError(f"{where} comes too slowly: {count} bytes so far; try again later")
                yield block

    def _refused(self, where: str, error: Exception) -> Exception:
        code = getattr(error, "code", None)
        if isinstance(error, FileNotFoundError) or code == 404:
            return FileNotFoundError(f"{where} is missing")
        hint = ""
        if isinstance(error, PermissionError) or code in (401, 403) or "redentials" in type(error).__name__:
            hint = (
                ": it may not be read with these credentials"
                if not self.is_s3
                else (
                    ": it may not be read with these credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a "
                    "profile); ask for leave to read it, or give others"
                )
            )
        return InputError(f"{where} cannot be fetched: {_reason(error)}{hint}")

    def _open(self, name: str, patience: float, start: int, end: int | None) -> Any:
        if urlsplit(self.url).scheme.lower() in ("http", "https"):
            return self._request(name, patience, start, end)
        options: dict[str, Any] = {}
        if self.is_s3:
            waits = {"connect_timeout": patience, "read_timeout": patience, "retries": {"max_attempts": 0}}
            options = {"endpoint_url": self.endpoint, "config_kwargs": waits, "use_listings_cache": False}
        system, path = fsspec.core.url_to_fs(f"{self.url.rstrip('/')}/{name}", **options)
        if end is not None:
            return io.BytesIO(system.cat_file(path, start=start, end=end))
        file = system.open(path, "rb")
        file.seek(start)
        return file

    def _request(self, name: str, patience: float, start: int, end: int | None) -> Any:
        parts = urlsplit(self.url)
        account, _, host = parts.netloc.rpartition("@")
        # a signature behind the path holds for every file
        path = quote(f"{parts.path.rstrip('/')}/{name}", safe="/%:@!$&'()*+,;=~")
        request = urllib.request.Request(urlunsplit((parts.scheme, host, path, parts.query, "")))
        if account:
            # not sent on to where the server redirects
            coded = base64.b64encode(unquote(account).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {coded}")
        if start or end is not None:
            request.add_header("Range", f"bytes={start}-{'' if end is None else end - 1}")
        source = urllib.request.build_opener(_Redirects(self.allow_http)).open(request, timeout=patience)
        if request.has_header("Range") and source.status != 206:
            if end is not None:
                source.close()
                raise InputError(
                    f"{self.shown}/{name}: the server does not send parts of files: let max_gb hold the whole pack, or "
                    "ask another server"
                )
            while start and (dropped := source.read(min(start, _BLOCK))):
                start -= len(dropped)
        return source


def _read(source: Any) -> bytes:
    """The next bytes: what is there, instead of waiting for whole blocks."""
    block: bytes = getattr(source, "read1", source.read)(_BLOCK)
    # what is left by the header of an answer that has ended
    if not block and getattr(source, "length", None):
        raise IncompleteRead(b"", source.length)
    return block


def _may_pass(error: Exception) -> bool:
    """Whether the same request may be answered later."""
    if isinstance(error, HTTPError):
        return error.code in _PASSING
    return not isinstance(error, FileNotFoundError | PermissionError | ImportError | ValueError | NotImplementedError)


def _reason(error: Exception) -> str:
    cause = error.reason if type(error) is URLError else error
    return shown(without_secrets(" ".join(str(cause).split()) or type(error).__name__), 200)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects as urllib does, but not from an encrypted to an unencrypted address."""

    def __init__(self, allow_http: bool) -> None:
        self.allow_http = allow_http

    @override
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith(("https://", "http://") if self.allow_http else "https://"):
            raise InputError(
                f"{without_secrets(req.full_url)} redirects to {shown(without_secrets(newurl), 200)}, which is not "
                "encrypted: give the address of the files"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def without_secrets(text: str) -> str:
    """A text whose URLs have no user, password or signature."""
    text = re.sub(r"(\w+://)[^\s/'\"]*@", r"\1", text)
    return re.sub(r"(\w+://[^\s?#'\"]*)[?#][^\s'\"]*", r"\1", text)
