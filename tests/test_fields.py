"""The field decides the type: what each takes as typed, and what it says to anything else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mspctl import fields, kinds
from mspctl.kinds import dns
from mspctl.moments import Moment

LONG = "9" * 5000

RIGHT: list[tuple[Callable[[Any], Any], str, Any]] = [
    (fields.one_line, "NO", "NO"),
    (fields.one_line, "0123", "0123"),
    (fields.boolean, "true", True),
    (fields.boolean, "false", False),
    (fields.duration, "0", 0),
    (fields.duration, "300", 300),
    (fields.duration, "0300", 300),
    (fields.duration, "90s", 90),
    (fields.duration, "1h30m", 5400),
    (fields.duration, "1w2d", 777600),
    (fields.ttl, "2147483647", 2147483647),
    (fields.day, "2028-02-29", date(2028, 2, 29)),
    (fields.name, "007", "007"),
    (fields.name, "a-b", "a-b"),
    (fields.name, "a" * 63, "a" * 63),
    (fields.role, "api_key", "api_key"),
    (fields.count, "1", 1),
    (fields.count, "9999", 9999),
    (fields.network, "10.20.0.0/22", "10.20.0.0/22"),
    (fields.network, "10.0.0.1", "10.0.0.1/32"),
    (fields.network, "2001:DB8::/32", "2001:db8::/32"),
    (fields.email, "maria@brenta.example", "maria@brenta.example"),
    (fields.zone_name, "ACME.example.", "acme.example"),
    (fields.timezone, "Europe/Rome", "Europe/Rome"),
    (fields.until, "2027-03-31", Moment(date(2027, 3, 31))),
    (fields.until, "2027-03-12 18:00", Moment(date(2027, 3, 12), time(18))),
    (fields.until, "2027-03-12 00:00", Moment(date(2027, 3, 12), time(0))),
]
WRONG: list[tuple[Callable[[Any], Any], Any, str]] = [
    (fields.one_line, "", "is empty"),
    (fields.one_line, "  ", "is empty"),
    (fields.one_line, "a\nb", "should be one line, without tabs (for a long one write >- and indent it)"),
    (fields.one_line, "a\rb", "should be one line, without tabs (for a long one write >- and indent it)"),
    (fields.one_line, "a\tb", "should be one line, without tabs (for a long one write >- and indent it)"),
    (fields.one_line, None, "is empty"),
    (fields.one_line, ["a"], "should be text, not a mapping or a list"),
    (fields.boolean, "yes", "'yes' is not true or false"),
    (fields.boolean, "True", "'True' is not true or false"),
    (fields.duration, "99999999d", "'99999999d' is longer than two hundred years"),
    (fields.duration, "9999999999", "'9999999999' is longer than two hundred years"),
    (fields.duration, "1.5h", "'1.5h' is not a duration (write 1h, 5m or 300)"),
    (fields.duration, "-5", "'-5' is not a duration (write 1h, 5m or 300)"),
    (fields.duration, "1h30", "'1h30' is not a duration (write 1h, 5m or 300)"),
    (fields.duration, "12:30", "'12:30' is not a duration (write 1h, 5m or 300)"),
    (fields.duration, "\u0663h", "'\u0663h' is not a duration (write 1h, 5m or 300)"),
    (fields.duration, LONG, f"'{'9' * 79}… (5,000 characters) is not a duration (write 1h, 5m or 300)"),
    (fields.ttl, "2147483648", "'2147483648' is longer than a TTL can be (2147483647 seconds)"),
    (fields.ttl, "9999w", "'9999w' is longer than a TTL can be (2147483647 seconds)"),
    (fields.role, "API_KEY", "'API_KEY' is not what a driver calls a secret (lower-case letters, digits and _)"),
    (fields.role, "", "'' is not what a driver calls a secret (lower-case letters, digits and _)"),
    (fields.count, "0", "'0' is not a number from 1 to 9999"),
    (fields.count, "10000", "'10000' is not a number from 1 to 9999"),
    (fields.count, "-1", "'-1' is not a number from 1 to 9999"),
    (fields.count, "\u0663", "'\u0663' is not a number from 1 to 9999"),
    (fields.day, "2027-02-29", "'2027-02-29' is not a date (write 2027-03-31)"),
    (fields.day, "2027-W01-1", "'2027-W01-1' is not a date (write 2027-03-31)"),
    (fields.day, "20270301", "'20270301' is not a date (write 2027-03-31)"),
    (fields.day, "1.2.2027", "'1.2.2027' is not a date (write 2027-03-31)"),
    (fields.name, "Acme", "'Acme' is not a name (lower-case letters, digits and hyphens, at most 63)"),
    (fields.name, "-rf", "'-rf' is not a name (lower-case letters, digits and hyphens, at most 63)"),
    (fields.name, "../x", "'../x' is not a name (lower-case letters, digits and hyphens, at most 63)"),
    (fields.name, "a\n", "'a\\n' is not a name (lower-case letters, digits and hyphens, at most 63)"),
    (fields.name, "a" * 64, f"'{'a' * 64}' is not a name (lower-case letters, digits and hyphens, at most 63)"),
    (fields.network, "10.20.0.1/22", "'10.20.0.1/22' is not a network (write 10.20.0.0/22)"),
    (fields.network, "10.20.0.0/33", "'10.20.0.0/33' is not a network (write 10.20.0.0/24)"),
    (fields.email, "maria", "'maria' is not an e-mail address (write name@example.com)"),
    (fields.email, "a b@c.example", "'a b@c.example' is not an e-mail address (write name@example.com)"),
    (fields.email, "a@b..c", "'b..c' is not a domain name (A DNS label is empty)"),
    (fields.until, "soon", "'soon' is not a day or a time (write 2027-03-31 or 2027-03-31 18:00)"),
    (fields.until, None, "is empty"),
    (fields.window, "sun", "'sun' is not a window (write sun 05:00-06:00, mon-fri 07:30-18:30 or 22:00-05:00)"),
    (fields.window, ["sun"], "should be text, not a mapping or a list"),
    (fields.timezone, "europe/rome", "'europe/rome' is not a time zone (write Europe/Rome)"),
    (fields.timezone, "posix/Europe/Rome", "'posix/Europe/Rome' is not a time zone (write Europe/Rome)"),
    (fields.timezone, "Rome", "'Rome' is not a time zone (write Europe/Rome)"),
    (fields.timezone, "../../etc/passwd", "'../../etc/passwd' is not a time zone (write Europe/Rome)"),
    (fields.timezone, "Europe", "'Europe' is not a time zone (write Europe/Rome)"),
]


@pytest.mark.parametrize(("read", "typed", "value"), RIGHT)
def test_what_is_typed_is_understood(read: Callable[[Any], Any], typed: str, value: object) -> None:
    assert read(typed) == value


@pytest.mark.parametrize(("read", "typed", "said"), WRONG)
def test_what_is_wrong_is_told(read: Callable[[Any], Any], typed: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        read(typed)
    assert str(caught.value) == said


READERS = [
    fields.line,
    fields.one_line,
    fields.boolean,
    fields.duration,
    fields.ttl,
    fields.day,
    fields.name,
    fields.network,
    fields.email,
    fields.zone_name,
    fields.timezone,
    fields.until,
    fields.window,
]
TYPED = (
    st.text(max_size=20) | st.text("0123456789smhdw-:./@abc", max_size=12) | st.none() | st.lists(st.text(), max_size=2)
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(READERS), TYPED)
def test_any_text_is_a_value_or_a_plain_refusal(read: Callable[[Any], Any], typed: object) -> None:
    said = ""
    try:
        read(typed)
    except ValueError as error:
        said = str(error)
    assert said.isprintable()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, dns.MAX_TTL))
def test_a_duration_is_spoken_as_it_is_read(seconds: int) -> None:
    assert fields.duration(kinds.spoken_duration(seconds)) == seconds
