"""Secrets: where they are found, what a vault file holds, and that nothing which is written down shows them."""

import base64
import copy
import html
import inspect
import io
import json
import logging
import os
import pickle
import pprint
import re
import shlex
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mspctl import secrets
from mspctl.driver import Access
from mspctl.errors import SecretError
from mspctl.secrets import NAME, Environment, Given, RedactingFilter, Redactor, Secret, Secrets, redact
from mspctl.vault import Store, check, decrypt, encrypt, values

VALUE = b"hunter2 & 'friends'"
TEXT = VALUE.decode()
PASSWORD = b"vault password"
PLAIN = b"PDNS_1_API_KEY: 0123\nBINARY: {base64: AP//}\n"
# Both made from PLAIN and PASSWORD by ansible-vault 2.19.
MADE_BY_ANSIBLE = {
    "1.1": b"""$ANSIBLE_VAULT;1.1;AES256
31663734646131666235333835353038393235353166666636663263393233376466643230306232
3133366535616266393836356234393935356336383736630a626566333339653535386434653839
61666566333563373233663036333536643566366238343438613764336435633239366539366635
3230353738643033320a316164386266636532373162313163313431323830343731303231353661
38653937633565303733343838313166346662613761376437393163616332376634373931393638
3237663966636565386535613438363261323538323638643232
""",
    "1.2": b"""$ANSIBLE_VAULT;1.2;AES256;prod
35333632393663623338663033333337613466373166333038313735383834336132336430613835
3865626533346364396261626563306134316562303630630a336564663062663562653735643531
66636534623137346661306431386363643262656335306466313732366161383031383735616263
3330626133656238640a636165653933623361643332653565363438636663623763303433383037
64313731633563386634326632303166303332343239666466666132613939333234306333343864
6236663862393364633639323338616361343134373539386236
""",
}


@pytest.fixture(autouse=True)
def nothing_revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_revealed", Redactor())


@pytest.fixture
def secret() -> Secret:
    return Secret("API_KEY", VALUE)


# The type


@dataclass
class Holder:
    password: Secret
    user: str = "admin"


SHOWN: dict[str, Callable[[Secret], object]] = {
    "repr": repr,
    "str": str,
    "format": lambda s: f"{s} {s!r} {s!s} {s!a} {s:>40}",
    "percent": lambda s: "%s %r %a" % (s, s, s),  # noqa: UP031
    "format method": "{0} {0!r} {0.name}".format,
    "containers": lambda s: str([s, {"a": s}, (s,)]),
    "dataclass": lambda s: repr(Holder(s)),
    "access": lambda s: repr(Access("t", "a", None, Secrets.given({"api_key": VALUE}), Path())),
    "pprint": lambda s: pprint.pformat([Holder(s)] * 9, width=20),
    "json default": lambda s: json.dumps([s], default=str),
    "dir": lambda s: [getattr(s, name) for name in dir(s)],
    "members": inspect.getmembers,
    "locals": lambda s: _traceback_with_locals(s),
    "secrets": lambda s: repr(Secrets({"key": "API_KEY"}, [Given({"API_KEY": VALUE})])),
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_whatever_shows_it_shows_its_name_only(secret: Secret, show: Callable[[Secret], object]) -> None:
    shown = str(show(secret))
    assert "API_KEY" in shown
    assert "hunter2" not in shown


def _traceback_with_locals(secret: Secret) -> str:
    try:
        secret + secret  # type: ignore[operator]
    except TypeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return ""


REFUSED: dict[str, Callable[[Any], object]] = {
    "equal": lambda s: s == VALUE,
    "unequal": lambda s: s != VALUE,
    "equal to another": lambda s: s == Secret("API_KEY", VALUE),
    "equal dataclasses": lambda s: Holder(s) == Holder(Secret("API_KEY", VALUE)),
    "in a list": lambda s: s in [VALUE],
    "less": lambda s: s < VALUE,
    "pickle": pickle.dumps,
    "oldest pickle": lambda s: pickle.dumps(s, 0),
    "getstate": lambda s: s.__getstate__(),
    "copy": copy.copy,
    "deepcopy": lambda s: copy.deepcopy({"a": s}),
    "asdict": lambda s: asdict(Holder(s)),
    "json": json.dumps,
    "yaml": yaml.dump,
    "vars": vars,
    "bytes": bytes,
    "len": len,
    "iter": iter,
    "index": lambda s: s[0],
    "contains": lambda s: b"h" in s,
    "join": lambda s: b"".join([s]),
    "add": lambda s: "password: " + s,
    "path": os.fspath,
    "argv": lambda s: subprocess.run(["true", s], check=False),
}


@pytest.mark.parametrize("use", REFUSED.values(), ids=REFUSED)
def test_what_would_take_the_value_is_refused(secret: Secret, use: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError) as caught:
        use(secret)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_it_equals_itself_so_that_its_holders_can_be_compared_and_hashed(secret: Secret) -> None:
    assert Holder(secret) == replace(Holder(secret))
    assert [secret] == [secret]
    assert {secret: 1}[secret] == 1


def test_matches_compares_the_value(secret: Secret) -> None:
    assert secret.matches(VALUE)
    assert not secret.matches(VALUE + b"!")


def test_reveal_gives_every_byte_and_reveal_text_only_text() -> None:
    every = bytes(range(256))
    assert Secret("BINARY", every).reveal() == every
    assert Secret("TEXT", "pässword".encode()).reveal_text() == "pässword"
    with pytest.raises(SecretError, match=r"^secret BINARY is not UTF-8 text$") as caught:
        Secret("BINARY", every).reveal_text()
    assert caught.value.__context__ is None  # a UnicodeDecodeError would hold the bytes


def test_only_bytes_become_a_secret() -> None:
    with pytest.raises(TypeError, match=r"^secret API_KEY must be bytes, not str$"):
        Secret("API_KEY", "hunter2")  # type: ignore[arg-type]


def test_a_failing_pytest_assertion_does_not_show_it(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import os\nfrom mspctl.secrets import Secret\n"
        "a, b = (Secret('API_KEY', os.environb[b'GIVEN']) for _ in '12')\n"
        "def test_equal(): assert a == b\n"
        "def test_equal_lists():\n    here = a\n    assert [here, 1] == [a, 2]\n"
    )
    command = [sys.executable, "-m", "pytest", "-vv", "--showlocals", "-p", "no:cacheprovider", "test_it.py"]
    ran = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "GIVEN": TEXT}, capture_output=True, text=True, check=False
    )
    assert "2 failed" in ran.stdout
    assert "<secret API_KEY>" in ran.stdout
    assert "hunter2" not in ran.stdout + ran.stderr


# Where they are found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a vault for its targets and one for a customer."""
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory/secrets.yaml").write_bytes(MADE_BY_ANSIBLE["1.1"])
    (tmp_path / "customers/acme").mkdir(parents=True)
    (tmp_path / "customers/acme/secrets.yaml").write_bytes(encrypt(b"ONLY_ACME: a\n", PASSWORD))
    return tmp_path


def ask(root: Path, environ: Mapping[str, str | bytes], name: str = "PDNS_1_API_KEY") -> bytes:
    return Store(root, as_bytes(environ)).for_target("pdns-1", {"api_key": name})["api_key"].reveal()


def as_bytes(environ: Mapping[str, str | bytes]) -> dict[bytes, bytes]:
    return {key.encode(): os.fsencode(value) for key, value in environ.items()}


def test_the_environment_comes_before_files_and_files_before_the_vault(root: Path) -> None:
    (root / "named").write_bytes(b"from the named file\n")
    (root / "PDNS_1_API_KEY").write_bytes(b"from the directory\n")
    environ: dict[str, str | bytes] = {
        "MSPCTL_SECRET_PDNS_1_API_KEY": b"from the \xff environment",
        "MSPCTL_SECRET_PDNS_1_API_KEY_FILE": str(root / "named"),
        "CREDENTIALS_DIRECTORY": str(root),
        "MSPCTL_VAULT_PASSWORD": PASSWORD,
        "PDNS_1_API_KEY": "not meant for us",
    }
    expected = [b"from the \xff environment", b"from the named file", b"from the directory", b"0123"]
    found = []
    for variable in [*environ][:4]:
        found.append(ask(root, environ))
        environ[variable] = "" if variable != "CREDENTIALS_DIRECTORY" else str(root / "inventory")
    assert found == expected


def test_the_environment_of_the_process_is_read_late(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(root)
    monkeypatch.setenv("MSPCTL_SECRET_PDNS_1_API_KEY", "late")
    assert store.for_target("pdns-1", {"api_key": "PDNS_1_API_KEY"})["api_key"].reveal() == b"late"


@pytest.mark.parametrize(
    ("held", "given_back"),
    [
        (b"k\n", b"k"),
        (b"k\n\n", b"k\n"),
        (b"k\r\n", b"k\r"),
        (b" k ", b" k "),
        (b"\x00\xff\n", b"\x00\xff"),
        (b"k", b"k"),
    ],
)
def test_exactly_one_line_end_is_taken_off_a_file(tmp_path: Path, held: bytes, given_back: bytes) -> None:
    (tmp_path / "f").write_bytes(held)
    assert ask(tmp_path, {"MSPCTL_SECRET_PDNS_1_API_KEY_FILE": str(tmp_path / "f")}) == given_back


def test_what_can_be_read_only_once_is_read_only_once(root: Path) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"piped\n")
    os.close(theirs)
    environ = Environment(as_bytes({"MSPCTL_SECRET_KEY_FILE": f"/dev/fd/{ours}"}))
    both = [Secrets({"key": "KEY"}, [environ])["key"].reveal() for _ in "12"]
    os.close(ours)
    assert both == [b"piped", b"piped"]


def test_a_customer_has_its_own_vault_and_no_other(root: Path) -> None:
    store = Store(root, {b"MSPCTL_VAULT_PASSWORD": PASSWORD})
    assert store.for_customer("acme", {"key": "ONLY_ACME"})["key"].reveal() == b"a"
    with pytest.raises(SecretError, match=r"\(key of zeta\) .* customers/zeta/secrets.yaml \(no such file\)$"):
        store.for_customer("zeta", {"key": "ONLY_ACME"})["key"]
    with pytest.raises(SecretError, match=r"inventory/secrets.yaml$"):
        store.for_target("t", {"key": "ONLY_ACME"})["key"]


@pytest.mark.parametrize("customer", ["", "..", "../acme", "a/b", ".git", "a\n"])
def test_a_customer_is_one_folder(root: Path, customer: str) -> None:
    with pytest.raises(SecretError, match="cannot be the name of a customer's folder"):
        Store(root, {}).for_customer(customer, {})


ASKED = "secret NOT_THERE (api_key of pdns-1)"
IN_ENVIRONMENT = "the environment (MSPCTL_SECRET_NOT_THERE, MSPCTL_SECRET_NOT_THERE_FILE)"
VAULT = "inventory/secrets.yaml"
OPEN = {"MSPCTL_VAULT_PASSWORD": PASSWORD}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (OPEN, f"{ASKED} is not set: looked in {IN_ENVIRONMENT}, {VAULT}"),
        (
            {**OPEN, "CREDENTIALS_DIRECTORY": "/nowhere"},
            f"{ASKED} is not set: looked in {IN_ENVIRONMENT}, $CREDENTIALS_DIRECTORY, {VAULT}",
        ),
        (
            {"MSPCTL_SECRET_NOT_THERE_FILE": "/nowhere/f"},
            f"{ASKED}: /nowhere/f cannot be read (No such file or directory)",
        ),
        (
            {"MSPCTL_SECRET_NOT_THERE_FILE": "/dev/zero"},
            f"{ASKED}: /dev/zero is larger than 1024 KiB, too large for a secret",
        ),
        ({}, f"{ASKED}: {VAULT} cannot be decrypted: set MSPCTL_VAULT_PASSWORD_FILE or MSPCTL_VAULT_PASSWORD"),
        (
            {"MSPCTL_VAULT_PASSWORD_FILE": "/nowhere/f"},
            f"{ASKED}: {VAULT} cannot be decrypted: /nowhere/f cannot be read (No such file or directory)",
        ),
        (
            {"MSPCTL_VAULT_PASSWORD_FILE": "/dev/null"},
            f"{ASKED}: {VAULT} cannot be decrypted: /dev/null, named by MSPCTL_VAULT_PASSWORD_FILE, is empty",
        ),
        (
            {"MSPCTL_VAULT_PASSWORD": "wrong"},
            f"{ASKED}: {VAULT} cannot be decrypted: the password is wrong or the file is damaged",
        ),
    ],
)
def test_a_secret_that_is_not_found_is_one_line(root: Path, environ: dict[str, str | bytes], message: str) -> None:
    with pytest.raises(SecretError) as caught:
        ask(root, environ, "NOT_THERE")
    assert str(caught.value) == message


def test_a_password_file_is_never_run(root: Path) -> None:
    script = root / "script"
    script.write_text(f"#!/bin/sh\ntouch {root}/ran\n")
    script.chmod(0o700)
    with pytest.raises(SecretError, match=r"is a program \(put its output into MSPCTL_VAULT_PASSWORD\)$"):
        ask(root, {"MSPCTL_VAULT_PASSWORD_FILE": str(script)})
    assert not (root / "ran").exists()


def test_a_role_without_a_name_says_what_to_add() -> None:
    with pytest.raises(SecretError, match=r"^pdns-1 names no secret for api_key \(add secrets: {api_key: NAME}\)$"):
        Secrets({}, owner="pdns-1")["api_key"]


@pytest.mark.parametrize("name", ["", "api_key", "1A", "A-B", "../A", "A\n", "X_FILE", "_FILE", "X_BOUND_TO", "Ä"])
def test_a_name_that_could_mean_something_else_is_refused(name: str) -> None:
    with pytest.raises(SecretError, match="cannot be called so"):
        Secrets({"key": name}, [Given({name: b"value"})])["key"]
    assert not NAME.fullmatch(name)


def test_nothing_is_opened_before_it_is_asked_for(root: Path) -> None:
    (root / VAULT).write_bytes(b"PDNS_1_API_KEY: plain\n")
    mine = Store(root, {}).for_target("pdns-1", {"api_key": "PDNS_1_API_KEY"})
    assert "api_key" in mine
    assert list(mine) == ["api_key"]
    with pytest.raises(SecretError, match=r"secrets.yaml is not encrypted; run ansible-vault encrypt inventory/secre"):
        mine["api_key"]


def test_cryptography_is_imported_only_to_decrypt() -> None:
    program = "import sys, mspctl.vault; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_many_threads_open_a_vault_once(root: Path) -> None:
    store = Store(root, {b"MSPCTL_VAULT_PASSWORD": PASSWORD})
    names = {"api_key": "PDNS_1_API_KEY"}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: store.for_target(f"pdns-{n}", names)["api_key"], range(32)))
    assert all(each is found[0] for each in found)


@pytest.mark.parametrize("thing", [Secrets.given({"a": b"1"}), Given({"A": b"1"}), Store(Path(), {})])
def test_what_holds_secrets_does_not_travel(thing: object) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(thing)
    with pytest.raises(TypeError):
        copy.deepcopy(thing)


# The text inside a vault


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("A: 0123", b"0123"),
        ("A: no", b"no"),
        ("A: ünï", "ünï".encode()),
        ("A: 'quoted: # '", b"quoted: # "),
        ("A: base64:AP8=", b"base64:AP8="),
        ("A: |\n  one\n  two\n", b"one\ntwo\n"),
        ("A: |-\r\n  one\r\n  two\r\n", b"one\ntwo"),
        ("A: {base64: AP8=}", b"\x00\xff"),
        ("A:\n  base64: |\n    AP\n    8=\n", b"\x00\xff"),
        ("A:", b""),
    ],
)
def test_a_value_is_taken_as_typed_or_from_base64(written: str, expected: bytes) -> None:
    assert values(written.encode(), "f")["A"].reveal() == expected


def test_an_empty_vault_and_an_empty_value_set_nothing(root: Path) -> None:
    assert values(b"# nothing yet\n", "f") == {}
    (root / VAULT).write_bytes(encrypt(b"EMPTY: ''\n", PASSWORD))
    with pytest.raises(SecretError, match="is not set"):
        ask(root, OPEN, "EMPTY")


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (b"A: 1\nB: *hunter2\n", 2),
        (b"A: !hunter2 x\n", 1),
        (b"A: @hunter2\n", 1),
        (b"hunter2\n", 1),
        (b"A: 1\nA: hunter2\n", 2),
        (b"A: x\nhunter2: x\n", 2),
        (b"A: [hunter2]\n", 1),
        (b"A: {base64: hunter2!}\n", 1),
        (b"A: {base64: AP8=, hunter2: x}\n", 1),
        (b'A: "hunter2\\x00"\n', 1),
        (b"A: x\nB: hunter2 \xff\n", 2),
        (b"A: 'hunter2\n", 1),
    ],
)
def test_a_mistake_in_it_is_told_by_its_line_and_not_by_its_text(written: bytes, line: int) -> None:
    with pytest.raises(SecretError) as caught:
        values(written, "inventory/secrets.yaml")
    assert str(caught.value).startswith(f"inventory/secrets.yaml: line {line} of its decrypted text is not NAME: value")
    told = caught.value.__context__
    assert "hunter2" not in f"{caught.value} {told} {getattr(told, 'object', '')!r}"


# The format


@pytest.mark.parametrize("text", MADE_BY_ANSIBLE.values(), ids=MADE_BY_ANSIBLE)
def test_reads_what_ansible_vault_wrote(text: bytes) -> None:
    assert decrypt(text, PASSWORD) == PLAIN
    assert decrypt(text.replace(b"\n", b"\r\n") + b"\n\n", PASSWORD) == PLAIN


@given(st.binary(), st.binary(min_size=1), st.sampled_from(["", "prod", "a b", "ü"]))
def test_what_is_encrypted_decrypts(data: bytes, password: bytes, label: str) -> None:
    text = encrypt(data, password, label)
    header, *body = text.decode().splitlines()
    assert header == (f"$ANSIBLE_VAULT;1.2;AES256;{label}" if label else "$ANSIBLE_VAULT;1.1;AES256")
    assert {len(line) for line in body[:-1]} <= {80}
    check(text, "f")
    assert decrypt(text, password) == data
    assert encrypt(data, password, label) != text  # a new salt each time


@given(st.integers(0, len(MADE_BY_ANSIBLE["1.1"]) - 1), st.binary(max_size=2))
def test_a_damaged_file_is_refused_or_still_says_the_same(at: int, put: bytes) -> None:
    text = MADE_BY_ANSIBLE["1.1"]
    for damaged in (text[:at] + put + text[at + 1 :], text[:at] + put):
        outcome = _outcome(damaged)
        assert outcome == PLAIN or (isinstance(outcome, str) and outcome.startswith("f.yaml ") and "\n" not in outcome)


def _outcome(text: bytes) -> bytes | str:
    try:
        return decrypt(text, PASSWORD, "f.yaml")
    except SecretError as error:
        return str(error)


HEADER, _, BODY = MADE_BY_ANSIBLE["1.1"].partition(b"\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is not encrypted; run ansible-vault encrypt s.yaml"),
        (PLAIN, "is not encrypted; run ansible-vault encrypt s.yaml"),
        (b"\n" + HEADER + b"\n" + BODY, "is not encrypted; run ansible-vault encrypt s.yaml"),
        (b"$ANSIBLE_VAULT;1.0;AES\n" + BODY, "has vault format '1.0' (1.1 and 1.2 can be read)"),
        (b"$ANSIBLE_VAULT", "has vault format '' (1.1 and 1.2 can be read)"),
        (b"$ANSIBLE_VAULT;1.1;AES\n" + BODY, "is encrypted with 'AES' (AES256 can be read)"),
        (HEADER, "is damaged: cut off, or changed by hand"),
        (HEADER + b"\n" + BODY[:200], "is damaged: cut off, or changed by hand"),
        (HEADER + b"\n" + BODY[:-3], "is damaged: cut off, or changed by hand"),
        (HEADER + b"\n" + BODY + b"garbage\n", "is damaged: cut off, or changed by hand"),
        (HEADER + b"\n" + BODY + b"0a3030\n", "is damaged: cut off, or changed by hand"),
        (HEADER + b"\n" + BODY + b"3030\n", "cannot be decrypted: the password is wrong or the file is damaged"),
    ],
)
def test_a_file_that_cannot_be_opened_is_one_line_with_its_name(text: bytes, message: str) -> None:
    with pytest.raises(SecretError) as caught:
        decrypt(text, PASSWORD, "s.yaml")
    assert str(caught.value) == f"s.yaml {message}"


def test_nothing_is_deciphered_before_the_hmac_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    deciphered: list[bytes] = []
    monkeypatch.setattr("mspctl.vault._decipher", lambda *given: deciphered.append(given[0]))
    with pytest.raises(SecretError, match="password is wrong"):
        decrypt(MADE_BY_ANSIBLE["1.1"], b"wrong")
    assert deciphered == []


@pytest.mark.parametrize("label", ["a;b", "a\nb", " a", "a ", ";"])
def test_a_label_that_would_break_the_header_is_refused(label: str) -> None:
    with pytest.raises(SecretError, match="cannot be a vault label"):
        encrypt(b"", PASSWORD, label)


def test_an_empty_password_is_refused() -> None:
    with pytest.raises(SecretError, match="an empty password protects nothing"):
        encrypt(b"", b"")


# The real program, started and never imported


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ansible_vault(tmp_path: Path) -> Run:
    program = shutil.which("ansible-vault", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not program:
        missing = "ansible-vault is not installed (it is in the dev extra: ansible-core)"
        if os.environ.get("MSPCTL_REQUIRE_SERVERS") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    return lambda *args, check=True: subprocess.run(
        [program, *args], env=environ, cwd=tmp_path, capture_output=True, text=True, check=check, timeout=60
    )


CONTENTS = {"yaml": PLAIN, "every byte": bytes(range(256)), "block": b"x" * 16, "long": b"line\r\n" * 500}


@pytest.mark.parametrize(("label", "held"), [("", b" p\xff w \n\n"), ("prod", "pässword".encode())])
def test_ansible_vault_and_we_read_each_other(tmp_path: Path, ansible_vault: Run, label: str, held: bytes) -> None:
    (tmp_path / "password").write_bytes(held)
    password = held.strip()
    ours = {f"ours {name}": content for name, content in {**CONTENTS, "empty": b""}.items()}
    theirs = {f"theirs {name}": content for name, content in CONTENTS.items()}
    for name, content in ours.items():
        (tmp_path / name).write_bytes(encrypt(content, password, label))
    for name, content in theirs.items():
        (tmp_path / name).write_bytes(content)
    vault_id = f"{label or 'default'}@password"
    ansible_vault("encrypt", "--vault-id", vault_id, *theirs)
    ansible_vault("decrypt", "--vault-id", vault_id, *ours)
    assert {name: decrypt((tmp_path / name).read_bytes(), password) for name in theirs} == theirs
    assert {name: (tmp_path / name).read_bytes() for name in ours} == ours


def test_ansible_vault_refuses_what_we_refuse(tmp_path: Path, ansible_vault: Run) -> None:
    (tmp_path / "password").write_bytes(PASSWORD)
    (tmp_path / "damaged").write_bytes(HEADER + b"\n" + BODY + b"3030\n")
    assert ansible_vault("view", "--vault-password-file", "password", "damaged", check=False).returncode
    with pytest.raises(SecretError):
        decrypt((tmp_path / "damaged").read_bytes(), PASSWORD)


def test_the_password_file_of_ansible_vault_opens_the_store(root: Path, ansible_vault: Run) -> None:
    (root / "password").write_text("  as ansible reads it \n\n")
    (root / VAULT).write_bytes(b"PDNS_1_API_KEY: made by ansible\n")
    ansible_vault("encrypt", "--vault-password-file", "password", VAULT)
    assert ask(root, {"MSPCTL_VAULT_PASSWORD_FILE": str(root / "password")}) == b"made by ansible"


# Redaction


SPELLED: dict[str, Callable[[bytes], str]] = {
    "text": lambda v: v.decode("utf-8", "surrogateescape"),
    "replaced": lambda v: v.decode("utf-8", "backslashreplace"),
    "latin-1": lambda v: v.decode("latin-1"),
    "repr of bytes": repr,
    "repr of text": lambda v: repr(v.decode("utf-8", "surrogateescape")),
    "repr among others": lambda v: repr("'" + v.decode("utf-8", "surrogateescape") + '"'),
    "repr of bytes among others": lambda v: repr(b"'\"" + v),
    "ascii": lambda v: ascii(v.decode("utf-8", "surrogateescape")),
    "json": lambda v: json.dumps(v.decode("utf-8", "surrogateescape")),
    "unicode json": lambda v: json.dumps(v.decode("utf-8", "surrogateescape"), ensure_ascii=False),
    "html": lambda v: html.escape(v.decode("utf-8", "surrogateescape")),
    "html text": lambda v: html.escape(v.decode("utf-8", "surrogateescape"), quote=False),
    "shell": lambda v: shlex.quote(v.decode("utf-8", "surrogateescape")),
    "sql": lambda v: v.decode("utf-8", "surrogateescape").replace("'", "''"),
    "path": quote,
    "query": quote_plus,
    "component": lambda v: quote(v, "!'()*"),
    "lower percent": lambda v: "".join(f"%{b:02x}" if quote(bytes([b]), "")[0] == "%" else chr(b) for b in v),
    "hex": bytes.hex,
    "upper hex": lambda v: v.hex().upper(),
    "base64": lambda v: base64.b64encode(v).decode(),
    "url base64": lambda v: base64.urlsafe_b64encode(v).decode().rstrip("="),
}
AWKWARD = [VALUE, b"pa55", b"s+/=?&% ~", "pässwörd €".encode(), b"\x00\xff\xfe\x01key", b"both ' and \"", b"a\\b\tc\nd"]


@pytest.mark.parametrize("spell", SPELLED.values(), ids=SPELLED)
@pytest.mark.parametrize("value", AWKWARD, ids=ascii)
def test_every_spelling_is_blanked_out(value: bytes, spell: Callable[[bytes], str]) -> None:
    Secret("API_KEY", value).reveal()
    redacted = redact(f"before {spell(value)} after")
    assert re.fullmatch("before [b'\"\\\\]{0,5}<secret API_KEY>['\"]{0,2} after", redacted)


@pytest.mark.parametrize("value", AWKWARD, ids=ascii)
@pytest.mark.parametrize("before", [b"u", b"u:", b"us:", b"user:", b"\xfb\xff"])
@pytest.mark.parametrize("behind", [b"", b":", b"::", b":::"])
def test_it_is_blanked_out_inside_base64(value: bytes, before: bytes, behind: bytes) -> None:
    """As in Basic authentication. The characters that it shares with its neighbours may stay, one on either side."""
    Secret("API_KEY", value).reveal()
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        first, found, last = redact(encode(before + value + behind).decode()).partition("<secret API_KEY>")
        assert found
        assert len(first) <= len(base64.b64encode(before).rstrip(b"="))
        assert len(last.rstrip("=")) <= (len(base64.b64encode(behind).rstrip(b"=")) + 1 if behind else 0)


long_enough = st.binary(min_size=4).filter(lambda value: len(value.decode("utf-8", "replace").strip()) >= 4)


@given(long_enough, st.sampled_from(sorted(SPELLED)), st.text())
def test_any_value_is_blanked_out(value: bytes, spelling: str, around: str) -> None:
    known = Redactor()
    known.add("API_KEY", value)
    spelled = SPELLED[spelling](value)
    redacted = known.redact(around + spelled + around)
    assert "<secret API_KEY>" in redacted
    assert spelled not in redacted.replace("<secret API_KEY>", "\0")


@given(st.lists(st.text("abc", min_size=4, max_size=9), min_size=1, max_size=6), st.text("abcd", max_size=40))
def test_no_value_is_left_where_several_overlap(given_values: list[str], text: str) -> None:
    known = Redactor()
    for value in given_values:
        known.add("S", value.encode())
    covered = [any(_covers(value, text, at) for value in given_values) for at in range(len(text))]
    left = "".join(char for char, hidden in zip(text, covered, strict=True) if not hidden)
    assert known.redact(text).replace("<secret S>", "") == left


def _covers(value: str, text: str, at: int) -> bool:
    starts = range(max(0, at - len(value) + 1), at + 1)
    return any(text.startswith(value, start) for start in starts)


def test_a_text_without_secrets_stays_as_it_is() -> None:
    text = "nothing to hide " * 100
    assert redact(text) == text
    Secret("API_KEY", VALUE).reveal()
    assert redact(text) == text
    assert redact("") == ""


def test_only_revealed_values_are_known_and_short_or_blank_ones_are_left_out() -> None:
    Secret("API_KEY", VALUE)
    Secret("SHORT", b"abc").reveal()
    Secret("BLANK", b"       ").reveal()
    assert redact(f"abc {TEXT}        {VALUE.hex()}") == f"abc {TEXT}        {VALUE.hex()}"


def test_the_lines_of_a_private_key_are_blanked_out_one_by_one_too() -> None:
    lines = ("-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "BKcwggSjAgEAAoIBAQC7")
    Secret("KEY", "\n".join(lines).encode()).reveal()
    assert redact(f"stderr: {lines[1]}\nstderr: {lines[2]}\n") == "stderr: <secret KEY>\nstderr: <secret KEY>\n"
    assert redact(lines[0]) == lines[0]


def test_the_vault_password_is_blanked_out_as_well(root: Path) -> None:
    ask(root, OPEN)
    assert redact(f"tried {PASSWORD.decode()}") == "tried <secret MSPCTL_VAULT_PASSWORD>"


@pytest.fixture
def logged() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    logger, stream = logging.getLogger("mspctl.test_secrets.child"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(extra)s", defaults={"extra": ""}))
    handler.addFilter(RedactingFilter())
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)


def _fails(value: str) -> None:
    try:
        raise KeyError(value)
    except KeyError as error:
        raise RuntimeError(f"refused {value}") from error


LOGGED: dict[str, Callable[[logging.Logger, str], None]] = {
    "message": lambda log, v: log.warning(f"sent {v}"),
    "args": lambda log, v: log.warning("sent %s", v),
    "args with a repr": lambda log, v: log.warning("sent %r", {"password": v.encode()}),
    "named args": lambda log, v: log.warning("sent %(v)s", {"v": v}),
    "an exception": lambda log, v: log.warning(ValueError(v)),
    "too few args": lambda log, v: log.warning("sent %s %s", v),
    "no placeholder": lambda log, v: log.warning("sent", v),
    "extra": lambda log, v: log.warning("sent", extra={"extra": v}),
    "traceback": lambda log, v: _log_traceback(log, v),
    "percent in it": lambda log, v: log.warning("100% " + v),
}


def _log_traceback(log: logging.Logger, value: str) -> None:
    try:
        _fails(value)
    except RuntimeError:
        log.exception("failed")


@pytest.mark.parametrize("log", LOGGED.values(), ids=LOGGED)
def test_a_log_never_shows_it(
    logged: tuple[logging.Logger, io.StringIO],
    secret: Secret,
    capsys: pytest.CaptureFixture[str],
    log: Callable[[logging.Logger, str], None],
) -> None:
    logger, stream = logged
    log(logger, secret.reveal_text())
    assert stream.getvalue()
    assert "hunter2" not in stream.getvalue() + "".join(capsys.readouterr())


def test_the_log_still_tells_what_happened(logged: tuple[logging.Logger, io.StringIO], secret: Secret) -> None:
    logger, stream = logged
    logger.warning("%s sent to %s by %s", secret, "pdns-1", secret.reveal())
    _log_traceback(logger, secret.reveal_text())
    first, second, *rest = stream.getvalue().splitlines()
    assert first.strip() == '<secret API_KEY> sent to pdns-1 by b"<secret API_KEY>"'
    assert second.strip() == "failed"
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "RuntimeError: refused <secret API_KEY>"
    assert 'KeyError: "<secret API_KEY>"' in rest


def test_a_formatter_of_another_kind_finds_no_exception_to_print(secret: Secret) -> None:
    try:
        _fails(secret.reveal_text())
    except RuntimeError:
        record = logging.LogRecord("n", logging.ERROR, "p", 1, "m", None, sys.exc_info())
    assert RedactingFilter().filter(record)
    assert RedactingFilter().filter(record)  # a second handler has a filter of its own
    assert "hunter2" not in repr(vars(record))
    assert record.exc_info is None
    assert "RuntimeError" in str(record.exc_text)


# -- where a secret may go --------------------------------------------------------------------------------------

BY_ROLE = {"api_key": "KEY"}


def bound_store(root: Path, text: str) -> Store:
    (root / "inventory").mkdir(exist_ok=True)
    (root / VAULT).write_bytes(encrypt(text.encode(), b"p"))
    return Store(root, {b"MSPCTL_VAULT_PASSWORD": b"p"})


@pytest.mark.parametrize(
    "text",
    ["KEY: {value: abcd, bound_to: [here, there]}", "KEY: {base64: YWJjZA==, bound_to: here}", "KEY: abcd"],
)
def test_a_secret_goes_where_it_is_bound_to(root: Path, text: str) -> None:
    store = bound_store(root, text)
    assert store.for_target("t", BY_ROLE, ["here"])["api_key"].reveal() == b"abcd"


@pytest.mark.parametrize("addresses", [["elsewhere"], ["here", "elsewhere"], ["here.elsewhere"], []])
def test_a_secret_goes_nowhere_else(root: Path, addresses: list[str]) -> None:
    store = bound_store(root, "KEY: {value: abcd, bound_to: [here]}")
    with pytest.raises(SecretError, match="bound to here, and") as error:
        store.for_target("t", BY_ROLE, addresses)["api_key"]
    assert "abcd" not in str(error.value)


@pytest.mark.parametrize(
    "value", ["{value: abcd, bound_to: []}", "{value: abcd, bound_to: {a: b}}", "{value: abcd}", "{bound_to: here}"]
)
def test_a_binding_that_is_none_is_no_secret(root: Path, value: str) -> None:
    with pytest.raises(SecretError, match="line 1 of its decrypted text") as error:
        bound_store(root, f"KEY: {value}").for_target("t", BY_ROLE, ["here"])["api_key"]
    assert "abcd" not in str(error.value)
