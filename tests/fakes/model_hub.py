"""A local Hugging Face Hub for model repositories: real HTTP, as huggingface_hub speaks it.

Commits are whole and ordered; one that names another parent than the newest commit is refused with
412. Large files go through the LFS protocol and are stored once under their SHA-256. More commits
than the limit are refused with 429, as the Hub does at 128 an hour.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.fakes.local_server import QuietHandler, serving

_TYPES_IN_LFS = (".safetensors", ".bin", ".pdparams")
_LARGEST_REGULAR = 10 * 2**20


@dataclass
class Repository:
    """Branch → its commits, oldest first; a commit is an id and all files at it."""

    branches: dict[str, list[tuple[str, dict[str, bytes]]]]

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        for commits in self.branches.values():
            for commit in commits:
                if commit[0] == revision:
                    return commit
        return None


@dataclass
class ModelHub:
    """The state of a fake hub.

    Attributes:
        token: The only one that is accepted.
        commit_limit: Commits that are allowed in all.
        repositories: "user/model" → repository.
        blobs: SHA-256 → content of files in LFS.
        requests: Method and path of every request.
        bytes_received: Sizes of what was sent to LFS.
    """

    token: str = "hub-token"
    commit_limit: int = 128
    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bytes_received: list[int] = field(default_factory=list)
    lock: RLock = field(default_factory=RLock)
    _ids: Iterator[int] = field(default_factory=itertools.count)

    def new_id(self) -> str:
        return hashlib.sha1(str(next(self._ids)).encode(), usedforsecurity=False).hexdigest()

    def files(self, name: str, branch: str = "main") -> dict[str, bytes]:
        """All files of a branch as they are now."""
        return self.repositories[name].branches[branch][-1][1]

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Address of the hub while it runs."""
        handler = type("HubHandler", (_Handler,), {"hub": self})
        with serving(handler) as address:
            yield address


class _Refused(Exception):
    def __init__(self, status: int, message: str, code: str = "", **details: str) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.details = status, message, code, details


class _Handler(QuietHandler):
    hub: ModelHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.requests.append((self.command, path))
            try:
                self._route(path, body)
            except _Refused as refusal:
                headers = {"X-Error-Message": refusal.message}
                if refusal.code:
                    headers["X-Error-Code"] = refusal.code
                content = {"error": refusal.message, **refusal.details}
                self._send_json(content, refusal.status, headers)

    do_PUT = do_POST = do_HEAD = do_GET

    def _route(self, path: str, body: bytes) -> None:
        if match := re.fullmatch(r"/lfs-blobs/(\w+)", path):
            self._take_blob(match[1], body)
            return
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            raise _Refused(401, "Invalid username or password.")
        routes: dict[str, Callable[..., None]] = {
            r"/api/repos/create": lambda: self._create(json.loads(body)),
            r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch": lambda _: self._batch(json.loads(body)),
            r"/api/models/([^/]+/[^/]+)/branch/(.+)": self._branch,
            r"/api/models/([^/]+/[^/]+)/preupload/(.+)": lambda *_: self._preupload(body),
            r"/api/models/([^/]+/[^/]+)/commit/(.+)": lambda name, branch: self._commit(
                name, branch, body
            ),
            r"/api/models/([^/]+/[^/]+)/revision/(.+)": self._describe,
            r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?": self._tree,
            r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)": self._resolve,
        }
        for pattern, action in routes.items():
            if match := re.fullmatch(pattern, path):
                action(*match.groups())
                return
        raise _Refused(501, f"{self.command} {path} is unknown here")

    def _repository(self, name: str) -> Repository:
        if name not in self.hub.repositories:
            raise _Refused(404, "Repository not found", "RepoNotFound")
        return self.hub.repositories[name]

    def _at(self, name: str, revision: str) -> tuple[str, dict[str, bytes]]:
        commit = self._repository(name).at(revision)
        if commit is None:
            raise _Refused(404, "Revision not found", "RevisionNotFound")
        return commit

    def _create(self, wish: Mapping[str, Any]) -> None:
        name = f"{wish.get('organization') or 'user'}/{wish['name']}"
        if name in self.hub.repositories:
            address = f"{self._base}/{name}"
            raise _Refused(409, "You already created this model repo", url=address)
        self.hub.repositories[name] = Repository({"main": [(self.hub.new_id(), {})]})
        self._send_json({"url": f"{self._base}/{name}", "id": name, "name": name})

    def _branch(self, name: str, branch: str) -> None:
        repository = self._repository(name)
        if branch in repository.branches:
            raise _Refused(409, "Reference already exists")
        repository.branches[branch] = [repository.branches["main"][-1]]
        self._send_json({})

    def _preupload(self, body: bytes) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs"
                if file["size"] > _LARGEST_REGULAR or file["path"].endswith(_TYPES_IN_LFS)
                else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in json.loads(body)["files"]
        ]
        self._send_json({"files": files})

    def _batch(self, wish: Mapping[str, Any]) -> None:
        objects = []
        for item in wish["objects"]:
            answer = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.blobs:
                address = f"{self._base}/lfs-blobs/{item['oid']}"
                answer["actions"] = {"upload": {"href": address, "header": {}}}
            objects.append(answer)
        self._send_json({"transfer": "basic", "objects": objects})

    def _take_blob(self, sha256: str, body: bytes) -> None:
        self.hub.bytes_received.append(len(body))
        if hashlib.sha256(body).hexdigest() != sha256:
            raise _Refused(500, "the content is not what its name says")
        self.hub.blobs[sha256] = body
        self._send_json({})

    def _commit(self, name: str, branch: str, body: bytes) -> None:
        commits = self._repository(name).branches[branch]
        lines = [json.loads(line) for line in body.splitlines()]
        parent = lines[0]["value"].get("parentCommit")
        if parent is not None and parent != commits[-1][0]:
            raise _Refused(412, "A commit has happened since. Please refresh and try again.")
        if len(commits) > self.hub.commit_limit:
            raise _Refused(
                429, "You have exceeded the rate limit for repository commits (128 per hour)."
            )
        files = dict(commits[-1][1])
        for line in lines[1:]:
            self._apply(files, line["key"], line["value"])
        commits.append((self.hub.new_id(), files))
        address = f"{self._base}/{name}/commit/{commits[-1][0]}"
        self._send_json({"success": True, "commitOid": commits[-1][0], "commitUrl": address})

    def _apply(self, files: dict[str, bytes], kind: str, value: Mapping[str, Any]) -> None:
        if kind == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif kind == "lfsFile":
            if value["oid"] not in self.hub.blobs:
                raise _Refused(400, "LFS pointer pointed to a file that does not exist")
            files[value["path"]] = self.hub.blobs[value["oid"]]
        elif kind == "deletedFile":
            del files[value["path"]]
        elif kind == "deletedFolder":
            for path in [path for path in files if path.startswith(value["path"])]:
                del files[path]
        else:
            raise _Refused(400, f"{kind} is unknown here")

    def _describe(self, name: str, revision: str) -> None:
        commit, files = self._at(name, revision)
        siblings = [{"rfilename": path} for path in sorted(files)]
        self._send_json(
            {"_id": "1", "id": name, "modelId": name, "sha": commit, "siblings": siblings}
        )

    def _tree(self, name: str, revision: str) -> None:
        _, files = self._at(name, revision)
        self._send_json(
            [
                {"type": "file", "oid": "0" * 40, "size": len(content), "path": path}
                for path, content in sorted(files.items())
            ]
        )

    def _resolve(self, name: str, revision: str, path: str) -> None:
        _, files = self._at(name, revision)
        if path not in files:
            raise _Refused(404, "Entry not found", "EntryNotFound")
        content, status = files[path], 200
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            content, status = content[int(match[1]) :], 206
        self._send(content, status, {"Content-Type": "application/octet-stream"})

    @property
    def _base(self) -> str:
        return f"http://{self.headers['Host']}"

    def _send_json(
        self, content: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        kind = {"Content-Type": "application/json", **(headers or {})}
        self._send(json.dumps(content).encode(), status, kind)

    def _send(self, content: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
