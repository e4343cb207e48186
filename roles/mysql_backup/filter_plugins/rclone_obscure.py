"""The form in which rclone's configuration wants a crypt remote's passwords (`rclone obscure`)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

# rclone's own constant, public in its source (fs/config/obscure): this hides from a glance, it protects nothing.
RCLONE_KEY = bytes.fromhex("9c935b48730a554d6bfd7c63c886a92bd390198eb8128afbf4de162b8b95f638")


def rclone_obscure(password: str) -> str:
    """Return the password as `rclone obscure` writes it, the same at every call (rclone takes a random start).

    Raises ValueError for an empty password, which rclone would take as none.
    """
    if not password:
        raise ValueError("an empty password cannot be obscured")
    start = hmac.digest(RCLONE_KEY, password.encode(), hashlib.sha256)[:16]
    encryptor = Cipher(algorithms.AES(RCLONE_KEY), modes.CTR(start)).encryptor()
    return base64.urlsafe_b64encode(start + encryptor.update(password.encode())).decode().rstrip("=")


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        """Return the filters by name."""
        return {"rclone_obscure": rclone_obscure}
