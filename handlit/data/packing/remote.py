"""Fetches single files of a packed dataset from where a stranger may answer: in blocks, bounded in size and time."""

import base64
import re
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPMessage
from typing import IO, Any
from urllib.error import URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import fsspec
from typing_extensions import override

from handlit.errors import InputError
from handlit.reading import shown

#: Seconds to wait for a connection and for each further byte: by whoever starts a run, and by a run that has started.
PATIENCE, LONG_PATIENCE = 8.0, 60.0
#: Bytes a second below which a server is given up after that.
SLOWEST = 10_000
_BLOCK = 1 << 20


class RemoteFolder:
    """A folder behind a URL.

    Args:
        url: ``https://``, or what fsspec knows: ``s3://``, ``gs://``, ``file://``, ...
        allow_http: Also what travels unencrypted, ``http://`` and ``ftp://``: whoever is in between can change it.

    Raises:
        InputError: The URL is unencrypted, and that is not allowed.
    """

    def __init__(self, url: str, allow_http: bool = False) -> None:
        self.url = url
        self.allow_http = allow_http
        #: For messages: without passwords and signatures.
        self.shown = without_secrets(url).rstrip("/")
        if not allow_http and re.search(r"(^|::)(http|ftp)://", url, re.IGNORECASE):
            raise InputError(
                f"{self.shown} is not encrypted, so that anybody in between can change what arrives: use https://, or "
                "allow it with allow_http"
            )

    def blocks(self, name: str, most: int, patience: float = PATIENCE) -> Iterator[bytes]:
        """The content of a file, in blocks.

        Args:
            name: Relative to the folder.
            most: Bytes.
            patience: Seconds to wait for an answer, and for each further byte.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: Nobody answers, or not with the file; it has more bytes, or comes too slowly.
        """
        where, count, started = f"{self.shown}/{name}", 0, time.monotonic()
        try:
            with self._open(name, patience) as source:
                # what is there, instead of waiting for whole blocks
                read = getattr(source, "read1", source.read)
                while block := read(_BLOCK):
                    count += len(block)
                    if count > most:
                        raise InputError(f"{where} has more than the {most} bytes that are expected: upload it again")
                    if time.monotonic() - started > patience + count / SLOWEST:
                        raise InputError(f"{where} comes too slowly: {count} bytes so far; try again later")
                    yield block
        except InputError:
            raise
        # drivers of object storage raise exceptions of their own
        except Exception as error:
            if isinstance(error, FileNotFoundError) or getattr(error, "code", None) == 404:
                raise FileNotFoundError(f"{where} is missing") from error
            cause = error.reason if type(error) is URLError else error
            reason = " ".join(str(cause).split()) or type(error).__name__
            raise InputError(f"{where} cannot be fetched: {shown(without_secrets(reason), 200)}") from error

    def _open(self, name: str, patience: float) -> Any:
        parts = urlsplit(self.url)
        if parts.scheme.lower() not in ("http", "https"):
            return fsspec.open(f"{self.url.rstrip('/')}/{name}", "rb")
        account, _, host = parts.netloc.rpartition("@")
        # a signature behind the path holds for every file
        path = quote(f"{parts.path.rstrip('/')}/{name}", safe="/%:@!$&'()*+,;=~")
        request = urllib.request.Request(urlunsplit((parts.scheme, host, path, parts.query, "")))
        if account:
            # not sent on to where the server redirects
            coded = base64.b64encode(unquote(account).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {coded}")
        return urllib.request.build_opener(_Redirects(self.allow_http)).open(request, timeout=patience)


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
