"""A web server of a few files that a test holds in memory and changes as it likes."""

import base64

from tests.fakes.local_server import QuietHandler

USER, PASSWORD = "reader", "open sesame"
"""What files of a name that begins with "private" are given for."""
_BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

FILES: dict[str, bytes] = {}
REQUESTS: list[str] = []


class FileHandler(QuietHandler):
    """Serves FILES, some of them badly."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        REQUESTS.append(self.path)
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        if name not in FILES:
            self.reply(404, "no such file")
            return
        if name.startswith("private") and self.headers.get("Authorization") != _BASIC:
            self.reply(401, "who are you?")
            return
        content = FILES[name]
        self.send_response(200)
        # As servers do that take .gz for a way to send things.
        if name.endswith(".gz") and self.headers.get("Accept-Encoding") != "identity":
            self.send_header("Content-Encoding", "gzip")
        if not name.startswith("untold"):
            self.send_header("ETag", f'"{hash(content)}"')
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content[: len(content) // 2] if name.startswith("short") else content)
