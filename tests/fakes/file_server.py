"""A web server of a few files that a test holds in memory and changes as it likes."""

from tests.fakes.local_server import QuietHandler

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
