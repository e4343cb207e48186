"""The bucket and its keys, against b2sdk's own simulator of Backblaze B2; and what a stolen key can do there."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from b2sdk.v3 import exception

from support.b2_server import account, with_key

ROOT = Path(__file__).resolve().parents[2]


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("offsite_storage", ROOT / "playbooks/library/offsite_storage.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["offsite_storage"] = module
    spec.loader.exec_module(module)
    return module


storage = _module()
WANTED = storage.Wanted(cluster="shop", bucket="shop-holdfast", lock_days=29, hidden_days=36, point_in_time_days=30)


@pytest.fixture
def api() -> Any:
    """An account that may do everything."""
    return account()


def key_of(done: dict[str, Any], purpose: str) -> dict[str, str]:
    found: dict[str, str] = next(key for key in done["keys"] if key["name"] == f"shop-holdfast-{purpose}")
    return found


def test_a_new_account_gets_bucket_and_keys_and_the_second_run_changes_nothing(api: Any) -> None:
    done = storage.ensure(api, WANTED, check=False)
    assert [key["name"].rpartition("-")[2] for key in done["keys"]] == ["database", "cleaner", "restorer", "state"]
    (bucket,) = api.list_buckets("shop-holdfast")
    assert bucket.is_file_lock_enabled and bucket.type_ == "allPrivate"
    assert bucket.default_retention.as_dict() == {"mode": "governance", "period": {"duration": 29, "unit": "days"}}
    assert bucket.default_server_side_encryption.as_dict()["mode"] == "SSE-B2"
    assert bucket.lifecycle_rules[0]["daysFromHidingToDeleting"] == 36
    assert storage.ensure(api, WANTED, check=False) == {"changes": [], "keys": [], "wrong": []}


def test_new_keys_go_into_a_file_that_nobody_else_reads_and_no_old_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys.yml"
    storage.hand_over([{"name": "a", "id": "1", "key": "secret"}], path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(path.read_text()) == {"a": {"id": 1, "key": "secret"}}
    with pytest.raises(FileExistsError):
        storage.hand_over([], path)


def test_check_mode_says_what_would_be_made_and_makes_nothing(api: Any) -> None:
    done = storage.ensure(api, WANTED, check=True)
    assert done["changes"][0] == "bucket shop-holdfast" and len(done["changes"]) == 5
    assert list(api.list_buckets()) == [] and done["keys"] == []


def test_what_drifted_is_mended(api: Any) -> None:
    storage.ensure(api, WANTED, check=False)
    api.get_bucket_by_name("shop-holdfast").update(bucket_type="allPublic", lifecycle_rules=[])
    assert storage.ensure(api, WANTED, check=False)["changes"] == ["the bucket is public", "the lifecycle"]
    assert storage.ensure(api, WANTED, check=False)["changes"] == []


def test_a_lock_is_lengthened_but_never_taken_away(api: Any) -> None:
    storage.ensure(api, WANTED, check=False)
    assert storage.ensure(api, replace(WANTED, lock_days=0), check=False)["changes"] == []
    longer = replace(WANTED, lock_days=59, hidden_days=70, point_in_time_days=60)
    assert storage.ensure(api, longer, check=False)["changes"] == ["the lock is 29 days", "the lifecycle"]


def test_a_key_that_may_more_is_told(api: Any) -> None:
    done = storage.ensure(api, WANTED, check=False)
    api.delete_key_by_id(key_of(done, "database")["id"])
    bucket = api.get_bucket_by_name("shop-holdfast")
    api.create_key([*storage.READ, "writeFiles", "deleteFiles"], "shop-holdfast-database", bucket_ids=[bucket.id_])
    assert storage.ensure(api, WANTED, check=False)["wrong"] == ["shop-holdfast-database differs in deleteFiles"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"lock_days": 0, "hidden_days": 1}, ""),
        ({"lock_days": 30}, "the cleanup deletes what is 30 days old"),
        ({"hidden_days": 29}, "what somebody overwrote must outlive the lock"),
        ({"lock_days": -1}, "a lock 0 or more"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, int], message: str) -> None:
    found = storage.contradiction(replace(WANTED, **changes))
    assert message in found and bool(found) == bool(message)


def test_who_has_a_database_hosts_key_can_overwrite_and_hide_but_destroy_nothing(api: Any) -> None:
    done = storage.ensure(api, WANTED, check=False)
    name = "shop/backups/x/manifest.json"
    thief = with_key(api, key_of(done, "database")).get_bucket_by_name("shop-holdfast")
    first = thief.upload_bytes(b"the manifest", name)
    second = thief.upload_bytes(b"another", name)
    thief.hide_file(name)
    for version in (first, second):
        with pytest.raises(exception.B2Error):
            thief.api.delete_file_version(version.id_, name)
    assert [item.id_ for item in thief.list_file_versions(name)][-1] == first.id_


def test_not_even_the_cleaners_key_deletes_what_is_locked(api: Any) -> None:
    done = storage.ensure(api, WANTED, check=False)
    written = with_key(api, key_of(done, "database")).get_bucket_by_name("shop-holdfast").upload_bytes(b"1", "shop/x")
    assert "bypassGovernance" not in {right for _, rights, _ in storage.PURPOSES for right in rights}
    with pytest.raises(exception.B2Error):
        with_key(api, key_of(done, "cleaner")).delete_file_version(written.id_, "shop/x")


def test_without_a_lock_the_cleaner_alone_deletes(api: Any) -> None:
    done = storage.ensure(api, replace(WANTED, lock_days=0), check=False)
    written = with_key(api, key_of(done, "database")).get_bucket_by_name("shop-holdfast").upload_bytes(b"1", "shop/x")
    for purpose in ("database", "restorer", "state"):
        with pytest.raises(exception.B2Error):
            with_key(api, key_of(done, purpose)).delete_file_version(written.id_, "shop/x")
    with_key(api, key_of(done, "cleaner")).delete_file_version(written.id_, "shop/x")


def test_the_restorer_writes_nothing_and_the_states_key_only_there(api: Any) -> None:
    done = storage.ensure(api, WANTED, check=False)
    with pytest.raises(exception.B2Error):
        with_key(api, key_of(done, "restorer")).get_bucket_by_name("shop-holdfast").upload_bytes(b"1", "shop/state/x")
    state = with_key(api, key_of(done, "state")).get_bucket_by_name("shop-holdfast")
    state.upload_bytes(b"1", "shop/state/x")
    with pytest.raises(exception.B2Error):
        state.upload_bytes(b"1", "shop/backups/x")
