"""JSON documents that notice when they were edited or cut: each carries the SHA-256 of its own canonical rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from holdfast.errors import StorageError

SEAL = "sha256_of_document"


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one spelling of a document over which its seal is computed."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def seal(document: Mapping[str, Any]) -> bytes:
    """The document as JSON for people and programs, with its own SHA-256 as the last key."""
    digest = hashlib.sha256(canonical(document)).hexdigest()
    return _spelled({**document, SEAL: digest})


def seal_compact(document: Mapping[str, Any]) -> bytes:
    """The same in one line, for what programs alone read by the thousand: its hash is that of the bytes before it."""
    body = canonical(document)
    return body[:-1] + _ending(hashlib.sha256(body).hexdigest())


def unseal_compact(data: bytes, name: str, *, schema_version: int) -> dict[str, Any]:
    """The inverse. Raises StorageError naming `name` when it is damaged or too new."""
    size = len(_ending("0" * 64))
    body = data[:-size] + b"}"
    if data[-size:] != _ending(hashlib.sha256(body).hexdigest()):
        raise StorageError(
            f"{name} does not match its own SHA-256",
            meaning="The object was cut, edited or damaged after it was written; it does not count.",
            remedy="Look at the object's older versions in the store.",
        )
    return _checked(body, name, schema_version)


def _ending(digest: str) -> bytes:
    return f',"{SEAL}":"{digest}"}}\n'.encode()


def _spelled(document: Mapping[str, Any]) -> bytes:
    """The document with a line for each key."""
    if any(isinstance(value, (dict, list, tuple)) for value in document.values()):
        return (json.dumps(document, indent=1, ensure_ascii=True) + "\n").encode()
    # The same for one that is flat, without `indent`, for which json has no fast way: entries are read by the 100,000.
    inner = json.dumps(document, separators=(",\n ", ": "), ensure_ascii=True)[1:-1]
    return f"{{\n {inner}\n}}\n".encode()


def unseal(data: bytes, name: str, *, schema_version: int) -> dict[str, Any]:
    """The checked document without its seal. Raises StorageError naming `name` when it is damaged or too new."""
    document = _checked(data, name, schema_version)
    expected = document.pop(SEAL, None)
    digest = hashlib.sha256(canonical(document)).hexdigest()
    if expected != digest:
        raise StorageError(
            f"{name} does not match its own SHA-256",
            meaning="The object was edited or damaged after it was written; it does not count.",
            remedy="Look at the object's older versions in the store.",
        )
    # The seal protects the content, not the spelling: a byte changed between two keys is refused too.
    if _spelled({**document, SEAL: digest}) != data:
        raise StorageError(
            f"{name} is not spelled as Holdfast writes it",
            meaning="The object was edited after it was written; it does not count.",
            remedy="Look at the object's older versions in the store.",
        )
    return document


def _checked(data: bytes, name: str, schema_version: int) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise StorageError(
            f"{name} is not readable JSON: {error}",
            meaning="The object was cut or overwritten; it does not count.",
            remedy="Look at the object's older versions in the store.",
        ) from error
    if not isinstance(document, dict) or not isinstance(document.get("schema_version"), int):
        raise StorageError(
            f"{name} has no schema_version", meaning="It is not a document of Holdfast; it does not count."
        )
    if document["schema_version"] > schema_version:
        raise StorageError(
            f"{name} has schema_version {document['schema_version']}, this program knows up to {schema_version}",
            meaning="It was written by a newer Holdfast.",
            remedy="Update the programs on this host first.",
        )
    return document
