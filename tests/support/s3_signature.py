"""Signature version 4 of S3 (docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

REGION, SERVICE = "us-east-1", "s3"


@dataclass(frozen=True)
class Key:
    """A key of the store."""

    identifier: str
    secret: str


def signed(key: Key, method: str, url: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of a request that the store takes for one of that key's (pure); `now` in UTC."""
    parts = urlsplit(url)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(headers)
    canonical = "\n".join(
        [method, parts.path, parts.query, *(f"{name}:{value}" for name, value in headers.items()), "", names, digest]
    )
    scope = f"{day}/{REGION}/{SERVICE}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    secret = f"AWS4{key.secret}".encode()
    for part in (day, REGION, SERVICE, "aws4_request"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    proof = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    who = f"AWS4-HMAC-SHA256 Credential={key.identifier}/{scope}, SignedHeaders={names}"
    return {**headers, "authorization": f"{who}, Signature={proof}"}
