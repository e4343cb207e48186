"""Backblaze B2's native API over HTTP, before b2sdk's own simulator: buckets, versions, locks and keys for rclone.

Only what rclone calls (backblaze.com/apidocs): no large files, no copies. Times are real, in milliseconds.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

from b2sdk import v3 as b2
from b2sdk._internal.raw_simulator import RawSimulator
from b2sdk.v3 import exception

EVERYTHING = 10_000
INFO = "X-Bz-Info-"


class Simulator(RawSimulator):  # type: ignore[misc]
    """b2sdk's simulator with what it leaves out and B2 documents: keys of one bucket or prefix, the default lock."""

    def get_upload_url(self, api_url: str, account_auth_token: str, bucket_id: str) -> Any:
        self._assert_account_auth(api_url, account_auth_token, "account-0", "writeFiles", bucket_id)
        return self._get_bucket_by_id(bucket_id).get_upload_url(account_auth_token)

    def upload_file(self, upload_url: str, upload_auth_token: str, file_name: str, *rest: Any, **options: Any) -> Any:
        match = self.UPLOAD_URL_MATCHER.match(upload_url)
        key = self.auth_token_to_key[upload_url.rpartition("/")[2]]
        if not file_name.startswith(key.name_prefix_or_none or ""):
            raise exception.FileNameNotAllowed()
        lock = self._get_bucket_by_id(match.group(1)).default_retention
        if lock.period is not None:
            until = int(time.time() + lock.period.duration * 86400) * 1000
            options["file_retention"] = b2.FileRetentionSetting(lock.mode, until)
        return super().upload_file(upload_url, upload_auth_token, file_name, *rest, **options)

    def hide_file(self, api_url: str, account_auth_token: str, bucket_id: str, file_name: str) -> Any:
        self._assert_account_auth(api_url, account_auth_token, "account-0", "writeFiles", bucket_id, file_name)
        hidden = self._get_bucket_by_id(bucket_id).hide_file(account_auth_token, file_name)
        self.file_id_to_bucket_id[hidden["fileId"]] = bucket_id
        return hidden

    def delete_file_version(
        self, api_url: str, account_auth_token: str, file_id: str, file_name: str, bypass_governance: bool = False
    ) -> Any:
        bucket_id = self.file_id_to_bucket_id[file_id]
        self._assert_account_auth(api_url, account_auth_token, "account-0", "deleteFiles", bucket_id, file_name)
        return self._get_bucket_by_id(bucket_id).delete_file_version(
            account_auth_token, file_id, file_name, bypass_governance
        )


def account() -> Any:
    """A new account, and who may do everything in it."""
    made = b2.B2Api(b2.InMemoryAccountInfo(), api_config=b2.B2HttpApiConfig(_raw_api_class=Simulator))
    made.authorize_account(*made.session.raw_api.create_account())
    return made


def with_key(api: Any, key: dict[str, str]) -> Any:
    """Somebody else who has that key."""
    made = b2.B2Api(b2.InMemoryAccountInfo(), api_config=b2.B2HttpApiConfig(_raw_api_class=Simulator))
    made.session.raw_api = api.session.raw_api
    made.authorize_account(key["id"], key["key"])
    return made


def in_real_time(api: Any, bucket: str) -> None:
    """Stamp what comes into a bucket with this machine's clock; the simulator counts from 5000."""
    simulated = api.session.raw_api.bucket_name_to_bucket[bucket]

    def stamps() -> Iterator[int]:
        last = 0
        while True:
            last = max(last + 1, int(time.time() * 1000))
            yield last

    simulated.upload_timestamp_counter = stamps()


@contextmanager
def serving(api: Any) -> Iterator[str]:
    """Serve an account's simulator for the time of the block; yields rclone's `endpoint`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    cast("Any", server).raw, cast("Any", server).guard = api.session.raw_api, threading.Lock()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    """One connection of rclone's."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802  (the names that http.server wants)
        self._answer(self._authorize if "b2_authorize_account" in self.path else self._download)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:  # noqa: N802
        self._answer(self._upload if self.path.startswith("/upload") else self._call)

    @property
    def _raw(self) -> Any:
        return cast("Any", self.server).raw

    @property
    def _url(self) -> str:
        return f"http://{self.headers['Host']}"

    def _answer(self, made: Any) -> None:
        headers: dict[str, str] = {}
        try:
            with cast("Any", self.server).guard:
                status, headers, body = made()
        except exception.B2Error as error:
            status = {"Unauthorized": 401, "InvalidAuthToken": 401, "FileNotPresent": 404}.get(
                type(error).__name__, 403
            )
            told = {"status": status, "code": getattr(error, "code", None) or "access_denied", "message": str(error)}
            body = json.dumps(told).encode()
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _authorize(self) -> tuple[int, dict[str, str], bytes]:
        who, _, secret = base64.b64decode(self.headers["Authorization"].partition(" ")[2]).decode().partition(":")
        found = self._raw.authorize_account(self._raw.API_URL, who, secret)
        storage = found["apiInfo"]["storageApi"]
        storage |= {"apiUrl": self._url, "downloadUrl": self._url}
        if "/v1/" in self.path:  # all in one level, and one bucket at most
            buckets = storage["allowed"].pop("buckets") or [{"id": None, "name": None}]
            storage["allowed"] |= {"bucketId": buckets[0]["id"], "bucketName": buckets[0]["name"]}
            found = {**found, **storage, "minimumPartSize": storage["recommendedPartSize"]}
            del found["apiInfo"]
        return _json(found)

    def _call(self) -> tuple[int, dict[str, str], bytes]:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        verb, raw = urlsplit(self.path).path.rpartition("/")[2], self._raw
        who, prefix = (raw.API_URL, self.headers["Authorization"]), asked.get("prefix") or None
        if verb == "b2_list_buckets":
            wanted = asked.get("bucketName")
            return _json(raw.list_buckets(*who, asked["accountId"], asked.get("bucketId"), wanted))
        if verb == "b2_list_file_names":
            found = raw.list_file_names(*who, asked["bucketId"], prefix, EVERYTHING, prefix)
            return _json(_folded(found, asked))
        if verb == "b2_list_file_versions":
            found = raw.list_file_versions(*who, asked["bucketId"], prefix, None, EVERYTHING, prefix)
            return _json(_folded(found, asked))
        if verb == "b2_get_upload_url":
            url = raw.get_upload_url(*who, asked["bucketId"])["uploadUrl"]
            place = {"bucketId": asked["bucketId"], "uploadUrl": f"{self._url}/upload", "authorizationToken": url}
            return _json(place)
        if verb == "b2_hide_file":
            return _json(raw.hide_file(*who, asked["bucketId"], asked["fileName"]))
        if verb == "b2_delete_file_version":
            return _json(raw.delete_file_version(*who, asked["fileId"], asked["fileName"]))
        return _json({"status": 400, "code": "bad_request", "message": f"the fake knows no {verb}"}, status=400)

    def _upload(self) -> tuple[int, dict[str, str], bytes]:
        size, url = int(self.headers["Content-Length"]), self.headers["Authorization"]
        body = io.BytesIO(self.rfile.read(size))
        info = {
            name[len(INFO) :].lower(): unquote(value)
            for name, value in self.headers.items()
            if name.lower().startswith(INFO.lower())
        }
        name, kind = unquote(self.headers["X-Bz-File-Name"]), self.headers["Content-Type"]
        return _json(self._raw.upload_file(url, url, name, size, kind, self.headers["X-Bz-Content-Sha1"], info, body))

    def _download(self) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(self.path)
        if parts.path.startswith("/file/"):
            bucket, _, name = parts.path.removeprefix("/file/").partition("/")
            files = self._raw.bucket_name_to_bucket[bucket]
            found = [key for key in files.file_name_and_id_to_file if key[0] == unquote(name)]
            if not found:
                raise exception.FileNotPresent()
            file = files.file_name_and_id_to_file[min(found)]
        else:
            identifier = parse_qs(parts.query)["fileId"][0]
            bucket_id = self._raw.file_id_to_bucket_id[identifier]
            file = self._raw._get_bucket_by_id(bucket_id).file_id_to_file[identifier]
        if file.action != "upload":
            raise exception.FileNotPresent()
        headers = {
            "Content-Type": file.content_type,
            "X-Bz-File-Id": file.file_id,
            "X-Bz-File-Name": quote(file.name),
            "X-Bz-Content-Sha1": file.content_sha1,
            "X-Bz-Upload-Timestamp": str(file.upload_timestamp),
            **{f"{INFO}{name}": quote(value) for name, value in file.file_info.items()},
        }
        return 200, headers, file.data_bytes

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay quiet."""


def _json(document: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


def _folded(found: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """A listing with folders instead of what lies below them, where the caller wants it so; all in one page."""
    prefix, delimiter = asked.get("prefix") or "", asked.get("delimiter")
    files, folders = [], set()
    for item in found["files"]:
        head, cut, _ = item["fileName"][len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        if not cut:
            files.append({**item, "size": item["contentLength"]})
        elif (folder := f"{prefix}{head}{cut}") not in folders:
            folders.add(folder)
            files.append({"action": "folder", "fileName": folder, "fileId": None, "size": 0, "contentLength": 0})
    return {"files": files, "nextFileName": None, "nextFileId": None}
