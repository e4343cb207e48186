#!/usr/bin/env python3
"""A stage of the clone engine: a directory as tar to standard output, an incremental from standard input onto one."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from holdfast.backup import clone_stream
from holdfast.backup.signature import Signature, SignatureWriter
from holdfast.errors import HoldfastError


def main() -> int:
    """Run the stage; the exit status is that of the error, its text goes to standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("full", "incremental"):
        command = commands.add_parser(name, help=f"write the stream of a backup of type {name}")
        command.add_argument("--source", type=Path, required=True)
        command.add_argument("--signature-out", type=Path, required=True)
        if name == "incremental":
            command.add_argument("--parent-signature", type=Path, required=True)
    command = commands.add_parser("apply", help="apply an incremental's stream to the materialised parent")
    command.add_argument("--target", type=Path, required=True)
    command.add_argument("--no-verify", action="store_true", help="a later incremental follows and will be verified")
    arguments = parser.parse_args()
    try:
        if arguments.command == "apply":
            clone_stream.apply(sys.stdin.buffer, arguments.target, verify=not arguments.no_verify)
        else:
            _write(arguments)
    except BrokenPipeError:
        logging.getLogger("mysql-clone-stream").error("broken pipe: the next stage ended")
        # Python would try to flush once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except HoldfastError as error:
        logging.getLogger("mysql-clone-stream").error("%s", error)
        return int(error.exit_code)
    except OSError as error:
        logging.getLogger("mysql-clone-stream").error("%s", error)
        return 4
    return 0


def _write(arguments: argparse.Namespace) -> None:
    with arguments.signature_out.open("wb") as target:
        signature = SignatureWriter(target)
        if arguments.command == "full":
            clone_stream.write_full(arguments.source, sys.stdout.buffer, signature)
        else:
            with arguments.parent_signature.open("rb") as source:
                parent = Signature.load(source, str(arguments.parent_signature))
                clone_stream.write_incremental(arguments.source, sys.stdout.buffer, parent, signature)
        signature.close()
        os.fsync(target.fileno())


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    sys.exit(main())
