"""What was found of a customer comes back as it was written; what was written by somebody else does not."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from mspctl.finding import Finding, Severity
from mspctl.finding_page import found, parsed, rendered

NOW = datetime(2027, 3, 12, 5, 30, tzinfo=UTC)
DS = Finding("dns.ds", Severity.SEVERE, "acme", "dns/acme.example", "no DS matches", "hand it over", "a.yaml:3")
QUOTA = Finding("mail.quota", Severity.WARNING, "acme", "mail/acme.example", "9 of 10", "more", until=date(2027, 4, 1))
OTHER = Finding("dns.ds", Severity.SEVERE, "other", "dns/other.example", "no DS matches", "hand it over")


def test_it_comes_back_as_it_was() -> None:
    page = found("acme", [QUOTA, DS, OTHER], NOW, None)
    again = parsed(rendered(page))
    assert again is not None
    assert {*again.findings} == {DS, QUOTA}
    assert (again.customer, again.read_at, again.first) == ("acme", NOW, page.first)


def test_what_is_there_again_keeps_its_first_day() -> None:
    day = timedelta(days=1)
    first = found("acme", [DS], NOW, None)
    later = found("acme", [DS, QUOTA], NOW + day, first)
    assert [*later.first.values()] == [NOW, NOW + day]
    assert found("acme", [QUOTA], NOW + 2 * day, later).first == {("mail.quota", QUOTA.path): NOW + day}


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"customer": 3}, {"read": "2027-03-12"}, {"findings": [{}]}, {"findings": 1}, {"more": 1}],
    ids=str,
)
def test_what_is_not_ours_is_as_good_as_none(change: dict[str, object]) -> None:
    assert parsed(json.dumps({**json.loads(rendered(found("acme", [DS], NOW, None))), **change}).encode()) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000], ids=["empty", "list", "bytes", "deep"])
def test_nor_is_anything_else(content: bytes) -> None:
    assert parsed(content) is None
