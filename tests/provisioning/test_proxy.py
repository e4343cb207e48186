"""The proxy switch on a live site, and ProxySQL's role on a site that has not got its package."""

from __future__ import annotations

import pytest

from support.hosts import Lab
from support.playbooks import rerun

APP = ("--limit", "app1")
PACKAGE = "proxysql_3*.deb"
FILES = {
    "/etc/proxysql.cnf": "root proxysql 640",
    "/etc/proxysql": "root proxysql 750",
    "/etc/proxysql/ca.pem": "root proxysql 640",
    "/etc/proxysql/cert.pem": "root proxysql 640",
    "/etc/proxysql/key.pem": "proxysql proxysql 600",
    "/etc/holdfast/secrets/proxysql-admin.cnf": "root root 600",
    "/etc/systemd/system/proxysql.service.d/holdfast.conf": "root root 644",
    "/var/lib/proxysql": "proxysql proxysql 750",
    "/var/lib/proxysql/proxysql-key.pem": "proxysql proxysql 600",
}


def has_package(lab: Lab) -> bool:
    """Tell whether the local folder has ProxySQL."""
    return lab.app1.run("sh", "-c", f"ls /srv/packages/{PACKAGE}", check=False).status == 0


def is_active(lab: Lab, unit: str) -> bool:
    return lab.app1.run("systemctl", "is-active", unit, check=False).out.strip() == "active"


def test_without_its_package_everything_of_proxysql_but_itself_is_there(lab: Lab) -> None:
    if has_package(lab):
        pytest.skip("proxysql: its package is there, the other test has it")
    first = rerun("proxy", *APP, variables={"proxy": "proxysql"})
    assert "ProxySQL is not installed on app1: /srv/packages has no proxysql_3.0.11*.deb" in first.words
    assert set(rerun("proxy", *APP, variables={"proxy": "proxysql"}).changed.values()) == {0}
    for path, expected in FILES.items():
        assert lab.app1.run("stat", "--format=%U %G %a", path).out.strip() == expected, path
    key = lab.app1.run("openssl", "verify", "-CAfile", "/etc/proxysql/ca.pem", "/etc/proxysql/cert.pem")
    assert key.out.strip().endswith("OK")
    assert is_active(lab, "haproxy"), "a proxy that runs is not taken away for one that cannot be started"


@pytest.mark.needs("proxysql")
def test_the_switch_moves_a_live_site_from_one_proxy_to_the_other_and_back(lab: Lab) -> None:
    if not has_package(lab):
        pytest.skip("proxysql: no package of it in the local folder (HOLDFAST_PACKAGES)")
    try:
        rerun("proxy", *APP, variables={"proxy": "proxysql"})
        assert is_active(lab, "proxysql") and not is_active(lab, "haproxy")
        assert lab.app1.run("systemctl", "is-enabled", "haproxy", check=False).out.strip() == "disabled"
        assert set(rerun("proxy", *APP, variables={"proxy": "proxysql"}).changed.values()) == {0}
    finally:
        rerun("proxy", *APP)
    assert is_active(lab, "haproxy") and not is_active(lab, "proxysql")
    assert set(rerun("proxy", *APP).changed.values()) == {0}
