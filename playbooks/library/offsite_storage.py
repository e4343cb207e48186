#!/usr/bin/python
"""The bucket of a site at Backblaze B2, and its keys: made where they are missing, mended where they can be.

Runs on the controller, whose environment has b2sdk. What is decided stands in `contradiction` and `key_plan`; the rest asks
and acts. Nothing is ever deleted here, and a lock is never shortened.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: offsite_storage
short_description: Bucket and keys at Backblaze B2
description:
  - Makes the bucket with encryption, a default Object Lock and a lifecycle, and one application key for each purpose.
options:
  account_key_id: {description: Id of a key that may make buckets and keys, type: str, required: true}
  account_key: {description: That key, type: str, required: true}
  cluster: {description: First folder in the bucket, type: str, required: true}
  bucket: {description: Name of the bucket, type: str, required: true}
  lock_days: {description: Days for which each object can be neither deleted nor changed; 0 is none, type: int, required: true}
  hidden_days: {description: Days after which a hidden version is deleted, type: int, required: true}
  keys_file: {description: Where new keys are written, once, type: path, required: true}
  point_in_time_days: {description: Days within which the cleanup deletes nothing, type: int, required: true}
author: [Holdfast]
"""
EXAMPLES = "- offsite_storage: {cluster: shop, bucket: shop-holdfast, lock_days: 29, hidden_days: 36, point_in_time_days: 30, keys_file: k.yml}"
RETURN = "changes: {description: What was changed, type: list, returned: always}"

READ = ("listBuckets", "listFiles", "readFiles")
# Purpose, what its key may do, and whether it is held to the cluster's state. None may lift a lock (bypassGovernance).
PURPOSES = (
    ("database", (*READ, "writeFiles"), False),
    ("cleaner", (*READ, "writeFiles", "deleteFiles"), False),
    ("restorer", READ, False),
    ("state", (*READ, "writeFiles"), True),
)


@dataclass(frozen=True)
class Key:
    """An application key as it shall be; `prefix` is None where it reaches the whole bucket."""

    name: str
    capabilities: frozenset[str]
    prefix: str | None


@dataclass(frozen=True)
class Wanted:
    """The storage of a site. Days are days; the lock is 0 where there is none."""

    cluster: str
    bucket: str
    lock_days: int
    hidden_days: int
    point_in_time_days: int

    @property
    def keys(self) -> tuple[Key, ...]:
        """One for each purpose."""
        return tuple(
            Key(f"{self.bucket}-{purpose}", frozenset(rights), f"{self.cluster}/state/" if held else None)
            for purpose, rights, held in PURPOSES
        )

    @property
    def lifecycle(self) -> list[dict[str, Any]]:
        """Hidden versions go by themselves; nothing is ever hidden by itself."""
        rule = {"fileNamePrefix": "", "daysFromHidingToDeleting": self.hidden_days, "daysFromUploadingToHiding": None}
        return [rule]


def contradiction(wanted: Wanted) -> str:
    """Why these settings cannot be meant; empty when they can (pure)."""
    if wanted.lock_days < 0 or wanted.hidden_days < 1 or wanted.point_in_time_days < 1:
        return "days must be 1 or more, a lock 0 or more"
    if wanted.lock_days >= wanted.point_in_time_days:
        return (
            f"the lock holds objects for {wanted.lock_days} days, but the cleanup deletes what is {wanted.point_in_time_days}"
            " days old: the store would refuse. The lock must be shorter by a day"
        )
    if wanted.hidden_days <= wanted.lock_days:
        return (
            f"hidden versions would go after {wanted.hidden_days} days, the lock holds them for {wanted.lock_days}:"
            " what somebody overwrote must outlive the lock"
        )
    return ""


def key_plan(wanted: Wanted, bucket_id: str, there: list[Any]) -> tuple[list[Key], list[str]]:
    """The keys to make, and what is wrong with those that are there: a key cannot be changed (pure)."""
    by_name = {key.key_name: key for key in there}
    missing, wrong = [], []
    for key in wanted.keys:
        found = by_name.get(key.name)
        if found is None:
            missing.append(key)
        elif set(found.capabilities) != key.capabilities:
            differing = sorted(set(found.capabilities) ^ key.capabilities)
            wrong.append(f"{key.name} differs in {', '.join(differing)}")
        elif (found.name_prefix or None) != key.prefix or bucket_id not in _buckets_of(found):
            wrong.append(f"{key.name} is of another bucket or prefix")
    return missing, wrong


def _buckets_of(key: Any) -> list[str]:
    one = getattr(key, "bucket_id", None)
    return [one] if one else list(getattr(key, "bucket_ids", None) or [])


def ensure(api: Any, wanted: Wanted, *, check: bool) -> dict[str, Any]:
    """Make and mend; what was, or would be, changed, and the keys that were made."""
    from b2sdk import v3 as b2

    settings = {
        "lifecycle_rules": wanted.lifecycle,
        "default_server_side_encryption": b2.EncryptionSetting(b2.EncryptionMode.SSE_B2, b2.EncryptionAlgorithm.AES256),
    }
    changes: list[str] = []
    # Not get_bucket_by_name: that may answer from a cache, which knows no settings.
    bucket = next(iter(api.list_buckets(wanted.bucket)), None)
    if bucket is None:
        changes.append(f"bucket {wanted.bucket}")
        if check:
            return {"changes": [*changes, *(f"key {key.name}" for key in wanted.keys)], "keys": [], "wrong": []}
        bucket = api.create_bucket(wanted.bucket, "allPrivate", is_file_lock_enabled=True, **settings)
    differing = _differing(bucket, wanted)
    if differing and not changes:
        changes += differing
    if differing and not check:
        if wanted.lock_days:
            settings["default_retention"] = b2.BucketRetentionSetting(
                b2.RetentionMode.GOVERNANCE, b2.RetentionPeriod(days=wanted.lock_days)
            )
        bucket.update(bucket_type="allPrivate", is_file_lock_enabled=True, **settings)
    missing, wrong = key_plan(wanted, bucket.id_, list(api.list_keys()))
    changes += [f"key {key.name}" for key in missing]
    made = []
    for key in [] if check else missing:
        new = api.create_key(sorted(key.capabilities), key.name, bucket_ids=[bucket.id_], name_prefix=key.prefix)
        made.append({"name": key.name, "id": new.id_, "key": new.application_key})
    return {"changes": changes, "keys": made, "wrong": wrong}


def _differing(bucket: Any, wanted: Wanted) -> list[str]:
    """Which settings of the bucket are not as they shall be."""
    found = []
    if bucket.type_ != "allPrivate":
        found.append("the bucket is public")
    if not bucket.is_file_lock_enabled:
        found.append("Object Lock is off")
    period = bucket.default_retention.period
    days = 0 if period is None else period.duration * (365 if str(period.unit) == "years" else 1)
    if days != wanted.lock_days and not (wanted.lock_days == 0 and days):
        found.append(f"the lock is {days} days")
    if list(bucket.lifecycle_rules) != wanted.lifecycle:
        found.append("the lifecycle")
    if bucket.default_server_side_encryption.as_dict().get("mode") != "SSE-B2":
        found.append("encryption at rest is off")
    return found


def hand_over(made: list[dict[str, str]], path: Path) -> None:
    """Write the new keys, which B2 shows once, into a file that nobody else reads; no result and no log has them."""
    lines = [f"{key['name']}:\n  id: {key['id']}\n  key: {key['key']}\n" for key in made]
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("---\n" + "".join(lines))


def main() -> None:
    """Run as a module of Ansible."""
    texts = {name: {"type": "str", "required": True} for name in ("account_key_id", "cluster", "bucket")}
    numbers = {name: {"type": "int", "required": True} for name in ("lock_days", "hidden_days", "point_in_time_days")}
    secret = {
        "account_key": {"type": "str", "required": True, "no_log": True},
        "keys_file": {"type": "path", "required": True},
    }
    module = AnsibleModule(argument_spec={**texts, **numbers, **secret}, supports_check_mode=True)
    asked = dict(module.params)
    identity, secret_key, path = asked.pop("account_key_id"), asked.pop("account_key"), Path(asked.pop("keys_file"))
    if path.exists():
        module.fail_json(msg=f"{path} still has the keys of an earlier run: put them into the vault and remove it.")
    wanted = Wanted(**asked)
    if problem := contradiction(wanted):
        module.fail_json(msg=f"Refused, nothing was changed: {problem}.")
    try:
        from b2sdk import v3 as b2
    except ImportError:
        module.fail_json(msg="The controller has no b2sdk: run `make setup`.")
    api = b2.B2Api(b2.InMemoryAccountInfo())
    try:
        api.authorize_account(identity, secret_key)
        done = ensure(api, wanted, check=module.check_mode)
        if made := done.pop("keys"):
            hand_over(made, path)
    except b2.exception.B2Error as error:
        module.fail_json(msg=f"Backblaze B2 refused: {error}")
    if done["wrong"]:
        module.fail_json(
            msg=f"A key cannot be changed: {'; '.join(done['wrong'])}. Delete it at the supplier, run this again, and put the new"
            " one into the vault.",
            **done,
        )
    module.exit_json(changed=bool(done["changes"]), **done)


if __name__ == "__main__":
    main()
