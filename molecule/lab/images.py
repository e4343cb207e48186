"""The lab's images: Debian by debootstrap and apt in a chroot, imported into podman, keyed by their recipe."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from space import CACHE, RECIPES, LabError, locked, output_of, run, say


def image_tag(base: str) -> str:
    """Return the image's name with the hash of its recipe: what has not changed is never built again."""
    recipe = json.dumps(RECIPES["images"][base], sort_keys=True).encode()
    return f"localhost/holdfast-{base}:{hashlib.sha256(recipe).hexdigest()[:12]}"


def build_image(base: str) -> None:
    """Make an image by debootstrap and apt in a chroot (no image registry needed), unless it is cached."""
    tag = image_tag(base)
    with locked(f"image-{base}"):
        if run("podman", "image", "exists", tag, check=False).returncode == 0:
            return
        recipe = RECIPES["images"][base]
        started = time.monotonic()
        say(f"image {base}: debootstrap {recipe['suite']} (about 1 minute, then 1 more for packages)")
        CACHE.mkdir(parents=True, exist_ok=True)
        root = CACHE / f"build-{base}"
        shutil.rmtree(root, ignore_errors=True)
        try:
            bootstrap(root, recipe)
            say(f"image {base}: import")
            with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
                run("podman", "import", "--change", "CMD=/sbin/init", "-", tag, quiet=True, stdin=tar.stdout)
            if tar.returncode:
                raise LabError(f"tar of {root} exited {tar.returncode}: is {CACHE} full?")
        finally:
            shutil.rmtree(root, ignore_errors=True)
        remove_older_images(base, tag)
        say(f"image {base}: ready after {time.monotonic() - started:.0f} s")


def remove_older_images(base: str, tag: str) -> None:
    """Remove the images of recipes that no longer exist, unless a container still uses them."""
    listed = output_of("podman", "images", "--format", "{{.Repository}}:{{.Tag}}", f"localhost/holdfast-{base}")
    for older in listed.split():
        if older != tag:
            run("podman", "image", "rm", older, check=False, quiet=True)


def bootstrap(root: Path, recipe: dict[str, Any]) -> None:
    """Fill a folder with a Debian system as the recipe has it."""
    suite, mirror = recipe["suite"], RECIPES["mirror"]
    include = ",".join(recipe["debootstrap"])
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    options = [f"--keyring={keyring}"] if keyring.exists() else []
    script = [] if Path(f"/usr/share/debootstrap/scripts/{suite}").exists() else ["sid"]
    argv = ["debootstrap", *options, "--variant=minbase", f"--include={include}", suite, str(root), mirror, *script]
    run(*argv, quiet=True)
    # the mirror's sid can be days behind its own Valid-Until
    (root / "etc/apt/apt.conf.d/90holdfast-lab").write_text(
        'Acquire::Check-Valid-Until "false";\nAPT::Install-Recommends "false";\nAPT::Periodic::Enable "0";\n'
    )
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # packages must not start services inside the chroot
    policy.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    apt = ("chroot", str(root), "apt-get", "-y", "-q")
    run(*apt, "update", quiet=True, env=environment)
    run(*apt, "install", *recipe["packages"], quiet=True, env=environment)
    if recipe["downloaded"]:  # the roles install these for real, from the image's own package cache
        run(*apt, "install", "--download-only", *recipe["downloaded"], quiet=True, env=environment)
    policy.unlink()
    for unit in recipe["masked"]:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    for name in ("etc/machine-id", "etc/hostname", "etc/resolv.conf"):
        (root / name).unlink(missing_ok=True)
    (root / "etc/machine-id").touch()
