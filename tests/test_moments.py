"""Days, hours and windows of a customer's own clock, at every change of clocks in ten years, in zones of all kinds."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import cache

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mspctl.moments import DAYS, Clock, Hours, Moment, Span, Window, timezone

ROME, LORD_HOWE, KOLKATA = "Europe/Rome", "Australia/Lord_Howe", "Asia/Kolkata"
ZONES = (
    ROME,
    LORD_HOWE,  # by half an hour
    KOLKATA,  # never, and half an hour off
    "UTC",
    "America/Havana",  # at midnight, back to 0:00
    "America/Asuncion",
    "Asia/Beirut",  # at midnight: the day begins at 1:00
    "Africa/Cairo",
    "Africa/Casablanca",  # around Ramadan
    "Europe/Dublin",  # winter is what is saved
    "America/St_Johns",
    "America/Nuuk",  # on Saturday night
    "America/Scoresbysund",
    "Antarctica/Troll",  # by two hours
    "Pacific/Chatham",
    "Pacific/Kiritimati",
)
QUARTER = timedelta(minutes=15)  # today's clocks are set at quarters of an hour
DAY = timedelta(days=1)


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """The instants of ten years at which clocks are set."""
    clocks, found = timezone(zone), []
    days = [datetime(2026, 1, 1, tzinfo=UTC) + n * DAY for n in range(3653)]
    for day in days:
        if day.astimezone(clocks).utcoffset() != (day + DAY).astimezone(clocks).utcoffset():
            quarters = [day + n * QUARTER for n in range(1, 97)]
            found += [
                q for q in quarters if q.astimezone(clocks).utcoffset() != (q - QUARTER).astimezone(clocks).utcoffset()
            ]
    return tuple(found)


def local(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(timezone(zone)).replace(tzinfo=None)


def moment(at: datetime) -> Moment:
    return Moment(at.date(), at.time())


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


EVERY_CHANGE = [(zone, change) for zone in ZONES for change in changes(zone)]


def test_zones_of_all_kinds_are_looked_at() -> None:
    assert {zone for zone in ZONES if not changes(zone)} >= {KOLKATA, "UTC", "Pacific/Kiritimati"}
    assert len(changes(ROME)) == len(changes(LORD_HOWE)) == 20
    assert len(EVERY_CHANGE) > 200


# -- until ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ZONES)
def test_a_day_lasts_until_its_last_minute_on_every_change(zone: str) -> None:
    for change in (*changes(zone), datetime(2027, 3, 5, 9, tzinfo=UTC)):
        for day in (local(change, zone).date() + n * DAY for n in (-1, 0, 1)):
            noon = datetime.combine(day, time(12), UTC)
            shown = [noon + n * QUARTER for n in range(-160, 161)]
            assert Moment(day).ends(zone) == max(i for i in shown if local(i, zone).date() <= day) + QUARTER
            assert Moment(day + DAY).begins(zone) == Moment(day).ends(zone)


@pytest.mark.parametrize("zone", ZONES)
def test_times_in_a_gap_are_refused_and_those_in_an_overlap_do_no_harm(zone: str) -> None:
    for change in changes(zone):
        before, after = local(change - QUARTER, zone) + QUARTER, local(change, zone)
        if after > before:
            for time_in_gap in (before, after - timedelta(minutes=1)):
                with pytest.raises(
                    ValueError, match=f"^{moment(time_in_gap)} does not exist in {zone}: clocks go from "
                ):
                    moment(time_in_gap).ends(zone)
            assert moment(after).ends(zone) == moment(after).begins(zone) == change
        else:
            assert moment(after).is_doubled(zone)
            assert (moment(after).ends(zone), moment(after).begins(zone)) == (change - (before - after), change)
            assert not moment(before).is_doubled(zone)


def test_the_refusal_names_the_gap() -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        Moment.parse("2027-03-28 02:30").ends(ROME)
    assert str(caught.value) == (
        "2027-03-28 02:30 does not exist in Europe/Rome: clocks go from 02:00 to 03:00 there (write 03:00 or later)"
    )
    with pytest.raises(ValueError, match="clocks go from 02:00 to 02:30 there"):
        Moment.parse("2027-10-03 02:15").begins(LORD_HOWE)


@given(st.sampled_from(ZONES), st.integers(0, 10 * 365 * 1440))
def test_what_the_clock_shows_is_a_moment_that_is_now(zone: str, minutes: int) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    shown = moment(local(now, zone))
    assert now in (shown.ends(zone), shown.begins(zone))
    assert Moment.parse(str(shown)) == shown
    assert Clock(now, zone).today == shown.day
    assert Moment(shown.day).begins(zone) <= now < Moment(shown.day).ends(zone)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("2027-02-29", "is not a day or a time (write 2027-03-31 or 2027-03-31 18:00)"),
        ("2027-03-31T18:00", "is not a day or a time"),
        ("2027-03-31 18:00:00", "is not a day or a time"),
        ("2027-03-31 24:00", "is not a day or a time"),
        ("2027-03-31 6:00", "is not a day or a time"),
        ("2027-3-31", "is not a day or a time"),
        ("18:00", "is not a day or a time"),
        ("\u0662027-03-31", "is not a day or a time"),
        ("2027-03-31 ", "is not a day or a time"),
        ("9999-12-31", "is too far away (leave it out for what has no end)"),
        ("0001-01-01", "is too far away"),
    ],
)
def test_other_texts_are_no_moments(typed: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        Moment.parse(typed)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "name", ["Rome", "europe/rome", "posix/Europe/Rome", "localtime", "Factory", "../zones", "", "Europe"]
)
def test_zones_are_iana_names_to_the_letter(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        timezone(name)


# -- spans ----------------------------------------------------------------------------------------------------


def span(since: str = "", until: str = "", zone: str = ROME) -> Span:
    return Span(zone, Moment.parse(since) if since else None, Moment.parse(until) if until else None)


def test_a_span_holds_from_its_first_to_its_last_day() -> None:
    easter = span("2027-03-27", "2027-03-28")  # clocks go forward in the second night
    assert not easter.holds(at("2027-03-26T22:59:59Z"))
    assert easter.holds(at("2027-03-26T23:00Z"))
    assert easter.holds(at("2027-03-28T21:59:59Z"))
    assert not easter.holds(at("2027-03-28T22:00Z"))
    assert [easter.is_over(at(f"2027-03-{day}T12:00Z")) for day in (26, 28, 29)] == [False, False, True]


def test_spans_that_end_before_they_begin_are_refused() -> None:
    assert span("2027-03-28", "2027-03-28").holds(at("2027-03-28T12:00Z"))
    for since, until in (("2027-03-29", "2027-03-28"), ("2027-03-28 10:00", "2027-03-28 10:00")):
        with pytest.raises(ValueError, match=f"ends .{until}. before it begins .{since}."):
            span(since, until)


def test_spans_meet_where_both_hold() -> None:
    first, second, always = span(until="2027-03-31"), span("2027-04-01"), span()
    assert not first.meets(second)
    assert not second.meets(first)
    assert first.meets(span("2027-03-31"))
    assert first.meets(always)
    assert always.meets(second)


# -- windows --------------------------------------------------------------------------------------------------


def shows(window: Window, now: datetime, zone: str) -> bool:
    """Whether the clock on the wall shows a time within the window; by another way than the one that is tested."""
    wall = local(now, zone)
    minute = (wall - datetime.combine(wall.date(), time())) // timedelta(minutes=1)
    first, last = window.start // timedelta(minutes=1), (window.start + window.length) // timedelta(minutes=1)
    today, yesterday = wall.weekday() in window.days, (wall.weekday() - 1) % 7 in window.days
    return (today and first <= minute < last) or (yesterday and minute + 1440 < last)


def lies_in_a_gap(window: Window, change: datetime, zone: str) -> bool:
    before, after = local(change - QUARTER, zone) + QUARTER, local(change, zone)
    opens = [datetime.combine(after.date() + n * DAY, time()) + window.start for n in (-1, 0)]
    return any(before <= o and o + window.length <= after and o.weekday() in window.days for o in opens)


clock_times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
night_times = st.builds("{:02}:{:02}".format, st.integers(0, 3), st.integers(0, 59))
weekdays = st.one_of(st.just(""), st.sampled_from(DAYS).map("{} ".format), st.just("mon-fri "), st.just("sat-mon "))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    times = st.one_of(clock_times, night_times)
    start, end = draw(times), draw(times)
    assume(start != end)
    return Window.parse(f"{draw(weekdays)}{start}-{end}")


@given(windows(), st.sampled_from(EVERY_CHANGE), st.integers(-2 * 1440, 2 * 1440))
def test_a_window_is_open_while_the_clock_shows_it(window: Window, change: tuple[str, datetime], minutes: int) -> None:
    zone, when = change
    now = when + timedelta(minutes=minutes)
    put_off = lies_in_a_gap(window, when, zone) and when <= now < when + window.length
    assert window.is_open(now, zone) == (shows(window, now, zone) or put_off)


@given(windows(), st.sampled_from(EVERY_CHANGE), st.integers(-1440, 1440))
def test_the_next_opening_is_the_first_open_minute(window: Window, change: tuple[str, datetime], minutes: int) -> None:
    zone, when = change
    now = when + timedelta(minutes=minutes)
    opens = window.opens(now, zone)
    assert now <= opens <= now + 8 * DAY
    assert window.is_open(opens, zone)
    waiting = (opens - now) // timedelta(minutes=1)
    assert not any(window.is_open(now + timedelta(minutes=n), zone) for n in range(0, waiting, 7))
    assert opens == now or not window.is_open(opens - timedelta(seconds=1), zone)


@pytest.mark.parametrize(
    ("zone", "typed", "opens", "closes"),
    [
        (ROME, "sun 05:00-06:00", "2027-03-28T03:00Z", "2027-03-28T04:00Z"),
        # Wholly in the gap from 2:00 to 3:00: at its end, and as long as it says.
        (ROME, "sun 02:15-02:45", "2027-03-28T01:00Z", "2027-03-28T01:30Z"),
        (ROME, "02:30-04:00", "2027-03-28T01:00Z", "2027-03-28T02:00Z"),
        (ROME, "sun 01:30-02:30", "2027-03-28T00:30Z", "2027-03-28T01:00Z"),
        (ROME, "sat 22:00-05:00", "2027-03-27T21:00Z", "2027-03-28T03:00Z"),
        # From 2:00 to 2:30.
        (LORD_HOWE, "sun 02:05-02:20", "2027-10-02T15:30Z", "2027-10-02T15:45Z"),
        (LORD_HOWE, "sun 01:00-03:00", "2027-10-02T14:30Z", "2027-10-02T16:00Z"),
        # Back from 2:00 to 1:30.
        (LORD_HOWE, "sun 01:00-03:00", "2027-04-03T14:00Z", "2027-04-03T16:30Z"),
        (KOLKATA, "sun 05:00-06:00", "2027-03-27T23:30Z", "2027-03-28T00:30Z"),
    ],
)
def test_windows_where_clocks_are_set(zone: str, typed: str, opens: str, closes: str) -> None:
    window, second = Window.parse(typed), timedelta(seconds=1)
    assert window.opens(at(opens) - timedelta(hours=6), zone) == at(opens)
    assert [window.is_open(at(opens) + n * second, zone) for n in (-1, 0)] == [False, True]
    assert [window.is_open(at(closes) + n * second, zone) for n in (-1, 0)] == [True, False]


def test_in_an_overlap_a_window_may_open_twice() -> None:
    window = Window.parse("sun 02:00-02:30")
    opened = [n for n in range(300) if window.is_open(at("2027-10-30T23:00Z") + timedelta(minutes=n), ROME)]
    assert opened == [*range(60, 90), *range(120, 150)]


@pytest.mark.parametrize(
    ("typed", "days"),
    [
        ("05:00-06:00", "mon tue wed thu fri sat sun"),
        ("sun 05:00-06:00", "sun"),
        ("mon-fri 07:30-18:30", "mon tue wed thu fri"),
        ("fri-mon 00:00-24:00", "mon fri sat sun"),
        ("sat,sun,wed 22:00-05:00", "wed sat sun"),
        ("sat-sat 22:00-24:00", "sat"),
    ],
)
def test_days_of_a_window(typed: str, days: str) -> None:
    window = Window.parse(typed)
    assert " ".join(DAYS[n] for n in sorted(window.days)) == days
    assert str(window) == typed


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "'' is not a window (write sun 05:00-06:00, mon-fri 07:30-18:30 or 22:00-05:00)"),
        ("sun", "is not a window"),
        ("sun 5:00-6:00", "is not a window"),
        ("sun 05:00 - 06:00", "is not a window"),
        ("Sun 05:00-06:00", "'Sun' is not a day or days of the week (write sun, mon-fri or sat,sun)"),
        ("sunday 05:00-06:00", "'sunday' is not a day"),
        ("mon- 05:00-06:00", "'mon-' is not a day"),
        ("mon-fri,wed 05:00-06:00", "'mon-fri,wed' names a day twice"),
        ("sun 05:60-06:00", "05:60 is not a time"),
        ("sun 05:00-24:01", "24:01 is not a time (write 05:00, at most 24:00)"),
        ("sun 05:00-05:00", "is empty (write 00:00-24:00 for whole days)"),
        ("sun 24:00-05:00", "is empty"),
    ],
)
def test_other_texts_are_no_windows(typed: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        Window.parse(typed)
    assert said in str(caught.value)


# -- several windows ------------------------------------------------------------------------------------------


def hours(*said: tuple[str, str]) -> Hours:
    return Hours(tuple((Window.parse(window), zone) for window, zone in said))


NOW = at("2027-03-26T12:00Z")  # a Friday


def test_without_windows_changes_may_always_be_carried_out() -> None:
    assert Hours().are_open(NOW)
    assert (Hours().opening(NOW), Hours().why_closed(NOW)) == (NOW, "")


def test_what_a_change_waits_for_is_told_in_the_time_of_the_window() -> None:
    assert hours(("sun 05:00-06:00", ROME)).why_closed(NOW) == "window opens Sun 28 Mar 05:00 (Europe/Rome)"
    assert (
        hours(("sun 05:00-06:00", LORD_HOWE)).why_closed(NOW) == "window opens Sun 28 Mar 05:00 (Australia/Lord_Howe)"
    )
    assert hours(("fri 12:00-14:00", ROME)).why_closed(NOW) == ""


def test_windows_of_customer_and_target_must_both_be_open() -> None:
    both = hours(("22:00-05:00", ROME), ("sun 00:00-24:00", "UTC"))
    assert both.opening(NOW) == at("2027-03-28T00:00Z")
    assert both.are_open(at("2027-03-28T02:59Z"))
    assert not both.are_open(at("2027-03-28T03:00Z"))
    assert both.opening(at("2027-03-28T03:00Z")) == at("2027-03-28T20:00Z")


def test_windows_that_never_meet_are_told() -> None:
    never = hours(("sat 05:00-06:00", "UTC"), ("sun 05:00-06:00", "UTC"))
    assert never.opening(NOW) is None
    assert never.why_closed(NOW) == "its windows are never open together (sat 05:00-06:00, sun 05:00-06:00)"
