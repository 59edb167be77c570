"""Servers of W&B that are of no help."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator


class _Answers(http.server.BaseHTTPRequestHandler):
    #: Set when the test is over.
    ended: threading.Event

    def answer(self, status: int, content: dict[str, object]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def asked(self) -> str:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")

    def log_message(self, *_: object) -> None:
        pass


class Refuses(_Answers):
    """Answers every request with 401 Unauthorized."""

    def do_POST(self) -> None:
        self.asked()
        self.answer(401, {"errors": [{"message": "this key is refused"}]})

    do_GET = do_POST


class Sticks(_Answers):
    """Lets a run start, and answers nothing of what comes then."""

    def do_POST(self) -> None:
        project = {"id": "p", "name": "handlit", "entity": {"id": "e", "name": "somebody"}}
        run = {"id": "r", "name": "r", "displayName": "r", "config": "{}", "project": project}
        known: dict[str, dict[str, object]] = {
            "upsertBucket": {"upsertBucket": {"bucket": run, "inserted": True}},
            "RunResumeStatus": {"model": None},
            "ArtifactType": {"project": None},
            "viewer": {"viewer": {"id": "v", "entity": "somebody"}},
            "serverInfo": {"serverInfo": {"features": []}},
        }
        asked = self.asked()
        for name, answer in known.items():
            if name in asked:
                self.answer(200, {"data": answer})
                return
        self.ended.wait(60)

    do_GET = do_POST


@contextlib.contextmanager
def serving(handler: type[_Answers]) -> Iterator[str]:
    """Address of a server of this kind."""
    handler.ended = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        handler.ended.set()
        server.shutdown()
        server.server_close()
