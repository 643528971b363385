"""Dovecot's own commands: what it answers, well or badly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mspctl.errors import TargetError, Unreachable
from mspctl.secrets import Secret
from mspctl.transports.doveadm import MANY, NO_SESSION, NO_USER, Doveadm, No, Settings
from mspctl.transports.http import Refused
from tests.servers.http_stand_in import StandIn, standing_in
from tests.servers.mail_stack import MailStack

KEY = "a-key-of-doveadm-4711"  # nothing that another test's texts could hold: what was revealed is blanked out


def doveadm(port: int, key: str = KEY, **settings: str) -> Doveadm:
    said = Settings.model_validate({"address": f"http://127.0.0.1:{port}", **settings})
    return Doveadm(said, lambda: Secret("DOVEADM", key.encode()), Path("/"))


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with standing_in() as made:
        yield made


def answering(stand_in: StandIn, *answer: Any) -> Doveadm:
    stand_in.answers = [(200, {}, json.dumps(answer).encode())]
    return doveadm(stand_in.port)


def test_each_command_has_its_answer_on_a_real_dovecot(mail_stack: MailStack) -> None:
    mail_stack.clear()
    api = doveadm(mail_stack.ports.doveadm, mail_stack.doveadm_key)
    nobody = {"user": "nobody@acme.example"}
    found = api.ask([("who", {}), ("kick", {"mask": ["x@y.example"]}), ("quotaGet", nobody)])
    assert found == [[], No(NO_SESSION), No(NO_USER)]
    assert api.ask([("nonsense", {})]) == [No(0)]
    assert str(No(0)) == "has no such command (a plugin that is not loaded?)"
    assert api.ask([]) == []


def test_more_commands_than_fit_into_one_request(mail_stack: MailStack) -> None:
    api = doveadm(mail_stack.ports.doveadm, mail_stack.doveadm_key)
    flush = [("authCacheFlush", {"user": [f"m{number}@acme.example"]}) for number in range(2 * MANY + 1)]
    assert api.ask(flush) == [[{"entries": "0"}]] * len(flush)


def test_a_wrong_key_and_no_answer(mail_stack: MailStack) -> None:
    with pytest.raises(Refused, match="does not take our key"):
        doveadm(mail_stack.ports.doveadm, "a-wrong-key-4712").ask([("who", {})])
    with pytest.raises(Unreachable):
        doveadm(mail_stack.ports.dns).ask([("who", {})])


def test_a_key_does_not_leave_this_machine_unencrypted() -> None:
    with pytest.raises(TargetError, match="sends the key readable"):
        doveadm(80, address="http://mail1.msp.example:8080")


def test_rows_that_who_puts_beside_its_list_are_read_too(stand_in: StandIn) -> None:
    one, two, three = ({"username": name} for name in ("a", "b", "c"))
    api = answering(stand_in, ["doveadmResponse", [one], two, three, "0"], ["doveadmResponse", [], "1"])
    assert api.ask([("who", {}), ("who", {})]) == [[one, two, three], []]
    assert stand_in.asked[0][2]["Authorization"] == "X-Dovecot-API YS1rZXktb2YtZG92ZWFkbS00NzEx"


def test_it_is_asked_again_when_it_is_busy(stand_in: StandIn) -> None:
    api = answering(stand_in, ["doveadmResponse", [], "0"])
    stand_in.answers.insert(0, (503, {"Retry-After": "0"}, b""))
    assert api.ask([("kick", {"mask": ["a@b.example"]})]) == [[]]
    assert len(stand_in.asked) == 2


def test_a_command_that_it_does_not_have_is_no_session_that_is_not_there(stand_in: StandIn) -> None:
    """The number is that of the command before."""
    api = answering(stand_in, ["error", {"type": "unknownMethod", "exitCode": NO_SESSION}, "0"])
    assert api.ask([("kick", {})]) == [No(0)]


@pytest.mark.parametrize(
    "answer",
    [
        [],
        ["nothing"],
        [["doveadmResponse", [], "7"]],
        [["doveadmResponse", [1], "0"]],
        [["doveadmResponse", "0"]],
        [["error", {}, "0"]],
        [["error", {"exitCode": "many"}, "0"]],
        [["error", 3, "0"]],
        [["error", None, "0"]],
        [[]],
        [[["x"], [], []]],
        [None],
    ],
)
def test_what_makes_no_sense_is_said_to_make_none(stand_in: StandIn, answer: list[Any]) -> None:
    with pytest.raises(TargetError, match="answers otherwise than doveadm"):
        answering(stand_in, *answer).ask([("who", {})])
