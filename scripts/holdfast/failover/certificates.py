"""TLS contexts of the pair's authority: made once, and again when the files change, so that renewing needs no restart.

A context costs several milliseconds to make, and a guard makes three calls a second.
"""

from __future__ import annotations

import functools
import logging
import ssl
import threading

from holdfast.config_failover import TlsConfig

log = logging.getLogger(__name__)


class Certificates:
    """One side's context; for any thread. Both sides show a certificate of the authority, and ask for one."""

    def __init__(self, tls: TlsConfig, *, server_side: bool) -> None:
        self._tls, self._server_side = tls, server_side
        self._lock = threading.Lock()
        self._read_at: tuple[int, ...] = ()
        self._made: ssl.SSLContext | None = None
        self._complaint = ""

    def context(self) -> ssl.SSLContext:
        """Return the certificates as they lie there; the last good ones while they are being replaced.

        Raises OSError, which an ssl.SSLError is, when none could ever be read.
        """
        with self._lock:
            try:
                files = (self._tls.ca_file, self._tls.certificate_file, self._tls.key_file)
                changed = tuple(number for file in files for number in (file.stat().st_mtime_ns, file.stat().st_ino))
                if self._made is None or changed != self._read_at:
                    self._made = self._new()
                    self._read_at = changed
                self._complaint = ""
            except OSError as error:
                if self._made is None:
                    raise
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    file = self._tls.certificate_file
                    log.warning("%s: cannot be read, the certificate from before is used: %s", file, error)
            return self._made

    def _new(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if self._server_side else ssl.PROTOCOL_TLS_CLIENT)
        if not self._server_side:
            context.check_hostname = False  # whoever calls compares the name; the address may be a relay's
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self._tls.ca_file)
        context.load_cert_chain(self._tls.certificate_file, self._tls.key_file)
        return context


@functools.cache
def of_callers(tls: TlsConfig) -> Certificates:
    """Return what every call of this process with these files shares."""
    return Certificates(tls, server_side=False)
