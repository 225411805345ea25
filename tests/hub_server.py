"""A stand-in for the Hugging Face Hub on 127.0.0.1: what huggingface_hub asks for, faults, HMDB51.

Large files are kept as the Hub keeps them: `resolve` redirects to a store that answers ranges, and
states size and SHA-256 in its headers; small ones are served by `resolve` itself.
"""

import hashlib
import json
import re
import threading
import zlib
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np

from r21d_lib.data import hmdb51, video

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".avi", ".rar", ".zip", ".tar", ".gz", ".parquet", ".safetensors", ".pth", ".pkl", ".bin")
TOKEN = "hf_of_these_tests"
_PAGE = 1000  # entries of a tree, as the Hub lists them


class Hub:
    """What the stand-in holds, and how it misbehaves.

    Attributes:
        repos: "datasets/owner/name" or "models/owner/name" to the files of it, by path.
        requests: (method, path, Range header) of everything that was asked.
        breaks: a file's path to the bytes after which each of the next answers breaks off.
        stalls: a file's path to the bytes after which each of the next answers says no more, with
            `stalled` set, until whoever asked is gone.
        statuses: a part of a request's path to the statuses that the next such requests get.
        wrong: a file's path to the contents that the next answers have instead.
        gated: repositories that are open only to those with the token.
        hidden: repositories that are private.
        retry_after: seconds that answers with 429 ask to wait; None leaves the header out.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = defaultdict(dict)
        self.requests: list[tuple[str, str, str | None]] = []
        self.breaks: dict[str, Iterator[int]] = {}
        self.stalls: dict[str, Iterator[int]] = {}
        self.stalled = threading.Event()
        self.statuses: dict[str, Iterator[int]] = {}
        self.wrong: dict[str, Iterator[bytes]] = {}
        self.gated: set[str] = set()
        self.hidden: set[str] = set()
        self.retry_after: int | None = 0
        self.uploads: dict[str, bytes] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.store = (
            f"http://localhost:{self._server.server_port}"  # another host, as the Hub's store is
        )

    def __enter__(self) -> "Hub":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, method: str, part: str) -> int:
        """Return how often something was asked for."""
        return sum(m == method and part in path for m, path, _ in self.requests)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: Hub


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


_SUMS: dict[int, tuple[bytes, str]] = {}  # by identity: thousands of paths may share one content


def sha256(content: bytes) -> str:
    kept = _SUMS.get(id(content))
    if kept is None or kept[0] is not content:
        kept = _SUMS[id(content)] = (content, hashlib.sha256(content).hexdigest())
    return kept[1]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    do_GET = do_POST = do_PUT = do_HEAD  # noqa: N815

    def _answer(self) -> None:
        hub = self.server.hub
        split = urlsplit(self.path)
        path = unquote(split.path)
        self.query = parse_qs(split.query)
        hub.requests.append((self.command, path, self.headers.get("Range")))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for part, statuses in hub.statuses.items():
            if part in path and (status := next(statuses, None)):
                after = {} if hub.retry_after is None else {"Retry-After": str(hub.retry_after)}
                self._send(status, b"busy", after if status == 429 else {})
                return
        for pattern, handle in _ROUTES:
            if match := re.fullmatch(pattern, path):
                handle(self, **match.groupdict())
                return
        self._send(404, b"no such page")

    def _send(
        self,
        status: int,
        content: bytes = b"",
        headers: dict[str, str] | None = None,
        cut: int | None = None,
        stall: bool = False,
    ) -> None:
        self.send_response(status)
        given = {"Content-Length": str(len(content)), **(headers or {})}
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut is not None:
            self.wfile.write(content[:cut])
            self.wfile.flush()
            if stall:
                self.server.hub.stalled.set()
                self.connection.recv(1)
            self.connection.close()
            self.close_connection = True
            return
        self.wfile.write(content)

    def _json(self, value: object, headers: dict[str, str] | None = None) -> None:
        kind = {"Content-Type": "application/json"}
        self._send(200, json.dumps(value).encode(), {**kind, **(headers or {})})

    def _repo(self, kind: str, repo: str) -> dict[str, bytes] | None:
        """Return a repository's files, or answer why not."""
        hub, name = self.server.hub, f"{kind}/{repo}"
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if name not in hub.repos or (name in hub.hidden and not known):
            # The Hub tells a stranger the same of what is private and of what is not there.
            self._send(404 if known else 401, b"{}", {"X-Error-Code": "RepoNotFound"})
            return None
        if name in hub.gated and not known and "/resolve/" in self.path:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
            return None
        return hub.repos[name]

    def info(self, kind: str, repo: str, rev: str = "main") -> None:
        if self._repo(kind, repo) is None:
            return
        if rev not in ("main", COMMIT):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        self._json({"id": repo, "sha": COMMIT, "private": False, "tags": [], "siblings": []})

    def tree(self, kind: str, repo: str, rev: str) -> None:
        files = self._repo(kind, repo)
        if files is None:
            return
        start = int(self.query.get("cursor", ["0"])[0])
        entries = []
        for path, content in list(files.items())[start : start + _PAGE]:
            entry = {"type": "file", "oid": git_sha1(content), "size": len(content), "path": path}
            if path.endswith(LARGE):
                entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
            entries.append(entry)
        after = start + _PAGE
        here = f"{self.server.hub.url}{urlsplit(self.path).path}"
        more = f'<{here}?recursive=true&cursor={after}>; rel="next"'
        self._json(entries, {"Link": more} if after < len(files) else {})

    def resolve(self, kind: str | None, repo: str, rev: str, path: str) -> None:
        kind = kind or "models"
        files = self._repo(kind, repo)
        if files is None:
            return
        if path not in files:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        content = files[path]
        headers = {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if path.endswith(LARGE):
            headers |= {
                "X-Linked-Size": str(len(content)),
                "X-Linked-Etag": f'"{sha256(content)}"',
                "Location": f"{self.server.hub.store}/store/{kind}/{quote(repo)}/at/{quote(path)}",
            }
            self._send(302, b"", headers)
        else:
            self._content(path, content, {**headers, "ETag": f'"{git_sha1(content)}"'})

    def store(self, kind: str, repo: str, path: str) -> None:
        content = self.server.hub.repos[f"{kind}/{repo}"][path]
        self._content(path, content, {"Accept-Ranges": "bytes"})

    def _content(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        hub = self.server.hub
        cut = stalls = None
        if self.command == "GET":
            content = next(hub.wrong.get(path, iter(())), content)
            stalls = next(hub.stalls.get(path, iter(())), None)
            cut = stalls if stalls is not None else next(hub.breaks.get(path, iter(())), None)
        total, status = len(content), 200
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            first, status = int(asked[1]), 206
            content = content[first:]
            headers["Content-Range"] = f"bytes {first}-{total - 1}/{total}"
        self._send(status, content, headers, cut, stalls is not None)

    # What `publish --push` asks -----------------------------------------------------------------

    def _may_write(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._send(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"})
        return False

    def create(self) -> None:
        if self._may_write():
            asked = json.loads(self.body)
            repo = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.server.hub.repos[f"models/{repo}"] = self.server.hub.repos.get(f"models/{repo}", {})
            self._json({"url": f"{self.server.hub.url}/{repo}", "id": repo})

    def yaml(self) -> None:
        self._json({"errors": [], "warnings": []})

    def preupload(self, repo: str) -> None:
        if self._may_write():
            files = json.loads(self.body)["files"]
            modes = {True: "lfs", False: "regular"}
            said = [
                {
                    "path": f["path"],
                    "uploadMode": modes[f["path"].endswith(LARGE)],
                    "shouldIgnore": False,
                }
                for f in files
            ]
            self._json({"files": said})

    def batch(self, repo: str) -> None:
        if self._may_write():
            objects = [
                {**o, "actions": {"upload": {"href": f"{self.server.hub.url}/upload/{o['oid']}"}}}
                for o in json.loads(self.body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.server.hub.uploads[oid] = self.body
        self._send(200)

    def commit(self, repo: str) -> None:
        if not self._may_write():
            return
        import base64

        files = self.server.hub.repos[f"models/{repo}"]
        for line in map(json.loads, self.body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.hub.uploads[value["oid"]]
        url = f"{self.server.hub.url}/{repo}/commit/{COMMIT}"
        self._json({"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""})


_REPO = r"(?P<repo>[^/]+/[^/]+)"
_ROUTES = [
    (rf"/api/(?P<kind>datasets|models)/{_REPO}", _Handler.info),
    (rf"/api/(?P<kind>datasets|models)/{_REPO}/revision/(?P<rev>.+)", _Handler.info),
    (rf"/api/(?P<kind>datasets|models)/{_REPO}/tree/(?P<rev>[^/]+)/?", _Handler.tree),
    (rf"/(?:(?P<kind>datasets)/)?{_REPO}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", _Handler.resolve),
    (rf"/store/(?P<kind>datasets|models)/{_REPO}/at/(?P<path>.+)", _Handler.store),
    (r"/api/repos/create", _Handler.create),
    (r"/api/validate-yaml", _Handler.yaml),
    (rf"/api/models/{_REPO}/preupload/main", _Handler.preupload),
    (rf"/{_REPO}\.git/info/lfs/objects/batch", _Handler.batch),
    (r"/upload/(?P<oid>\w+)", _Handler.upload),
    (rf"/api/models/{_REPO}/commit/main", _Handler.commit),
]


def draw(name: str, label: int) -> np.ndarray:
    """Draw a square whose colour, speed and height tell the class, on a ground of the video's own."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    frames = np.empty((int(random.integers(10, 45)), 48, 64, 3), np.uint8)
    frames[:] = random.integers(0, 60, (1, 12, 16, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    colour = [60 + 60 * (label % 4), 60 + 60 * (label // 4 % 4), 60 + 60 * (label // 16)]
    top, left = 4 + 3 * (label % 9), int(random.integers(0, 40))
    for t, frame in enumerate(frames):
        x = (left + (label % 5 - 2) * t) % 48
        frame[top : top + 14, x : x + 16] = colour
    return frames


def with_hmdb51(hub: Hub, folder: Path) -> None:
    """Give a stand-in `CVML-TueAI/HMDB51`: all clips that HMDB51's lists name, a film a class.

    Args:
        hub: the stand-in.
        folder: where films are made, and removed again.
    """
    films: dict[str, bytes] = {}
    for name in hmdb51.known_names():
        label = name.split("/")[0]
        if label not in films:
            video.write(folder / "film.avi", draw(label, len(films)))
            films[label] = (folder / "film.avi").read_bytes()
        hub.repos["datasets/CVML-TueAI/HMDB51"][f"hmdb51_org/{name}"] = films[label]
    (folder / "film.avi").unlink()
