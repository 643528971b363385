"""
A repository for an MSP's customers: folders, an example that works at once, the program pinned, Git and the ledger.

Everything is made in a folder beside and moved into place, so there is a whole repository or none.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution, requires
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from mspctl import __version__, schema
from mspctl.errors import Error, InputError, LedgerError
from mspctl.fields import one_line
from mspctl.ledger import Ledger

TEMPLATES = files("mspctl") / "templates"
CI = ("github", "gitlab")


@dataclass(frozen=True, slots=True)
class Made:
    """What `init` made."""

    root: Path
    name: str
    files: int
    ledger: str  # its first commit, or ""


def init(folder: Path, name: str = "", *, example: bool = True, ledger: bool = True, ci: str = "github") -> Made:
    """
    Make a repository in `folder`, which is missing or empty, or holds nothing but `.git`.

    `name` is the MSP's; by default the folder's. `ci` says whose pipelines are written, and is one of CI. Raises
    InputError when there is something in the way, and then, as after any other error, nothing was made.
    """
    folder = folder.absolute()
    name = _checked(name or folder.resolve().name)
    draft = (folder if folder.is_dir() else folder.parent) / f".mspctl-init-{secrets.token_hex(4)}"
    try:
        _check_free(folder)
        draft.mkdir()
        written = _write(draft, _contents(name, example=example, ledger=ledger, ci=ci))
        written += len(schema.write(draft / schema.FOLDER, schema.schemas()))
        repository = folder if (folder / ".git").exists() else draft
        if repository is draft:
            _make_repository(draft)
        tip = Ledger.init(repository).tip if ledger else ""
        _place(draft, folder)
    except OSError as error:
        raise InputError.at(str(folder), f"cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Made(folder, name, written, tip)


def _make_repository(folder: Path) -> None:
    import git

    try:
        git.Repo.init(folder, initial_branch="main").close()
    except git.GitCommandNotFound:
        raise LedgerError("git is not installed, or not in PATH") from None
    except git.GitError as error:
        raise LedgerError(f"git cannot make a repository: {' '.join(str(error).split())}") from None


def _check_free(folder: Path) -> None:
    if not folder.exists():
        if not folder.parent.is_dir():
            raise InputError.at(str(folder.parent), "is not a folder")
        return
    if not folder.is_dir():
        raise InputError.at(str(folder), "is not a folder")
    held = sorted(entry.name for entry in folder.iterdir() if entry.name != ".git")
    if held:
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        raise InputError.at(str(folder), f"is not empty: it holds {held[0]}{more} (name a new or an empty folder)")


def _checked(name: str) -> str:
    try:
        return one_line(name)
    except ValueError as error:
        raise InputError.at("--name", str(error)) from None


def _place(draft: Path, folder: Path) -> None:
    if not folder.exists():
        draft.rename(folder)
        return
    # Somebody may stand in the folder, so it stays and its contents move in.
    placed: list[Path] = []
    try:
        for entry in sorted(draft.iterdir()):
            placed.append(entry.rename(folder / entry.name))
    except BaseException:
        for path in placed:
            path.rename(draft / path.name)
        raise


# -- contents -------------------------------------------------------------------------------------------------


def _write(root: Path, contents: Mapping[str, str]) -> int:
    for path, text in contents.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return len(contents)


def _contents(name: str, *, example: bool, ledger: bool, ci: str) -> dict[str, str]:
    """Path → text. The example's files come last, so that they replace those of the bare repository."""
    said = {"name": name, "example": example, "ledger": ledger, "ci": ci}
    said |= {"version": __version__, "hash": program_hash(), "pins": pins()}
    trees = ["init", *(["gitlab"] if ci == "gitlab" else []), *(["example"] if example else [])]
    found = {
        _target(path): _filled(text, said) if path.endswith(".j2") else text
        for tree in trees
        for path, text in _texts(TEMPLATES / tree)
    }
    return {path: text for path, text in found.items() if ci == "github" or not path.startswith(".github/")}


def _texts(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = above + entry.name
        if entry.is_dir():
            yield from _texts(entry, f"{path}/")
        else:
            yield path, entry.read_text(encoding="utf-8")


def _target(path: str) -> str:
    """Where a template goes: names that Git would heed here too are written `dot-…` here."""
    return re.sub(r"(^|/)dot-", r"\1.", path).removesuffix(".j2")


def _filled(text: str, said: Mapping[str, object]) -> str:
    import jinja2

    environment = jinja2.Environment(
        autoescape=jinja2.select_autoescape(default_for_string=False),  # escapes are for HTML; these are not
        keep_trailing_newline=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.from_string(text).render(said)


# -- pins -----------------------------------------------------------------------------------------------------


def pins() -> str:
    """Every package that this mspctl needs at run time, with version and hashes, as pip's requirements."""
    asked = [spec for spec in requires("mspctl") or () if "extra ==" not in spec]
    text = (TEMPLATES / "constraints.txt").read_text(encoding="utf-8")
    return runtime_pins(text, {_package(spec) for spec in asked})


def program_hash() -> str:
    """SHA-256 of the file that mspctl was installed from, where pip wrote it down: a wheel that was named to it."""
    origin = json.loads(distribution("mspctl").read_text("direct_url.json") or "{}")
    archive = origin.get("archive_info", {})
    algorithm, _, digest = str(archive.get("hash", "")).partition("=")  # as pip before 23.1 wrote it
    return str(archive.get("hashes", {}).get("sha256", digest if algorithm == "sha256" else ""))


def runtime_pins(constraints: str, asked: set[str]) -> str:
    """
    The part of a constraints file that `asked` packages need, without its comments.

    What needs what is told by the `# via` comments that uv and pip-compile leave at each pin.
    """
    blocks = re.findall(r"^[^\s#].*\n(?:[ \t]+.*\n)*", constraints, re.MULTILINE)
    found = {_package(block): block for block in blocks}
    if missing := sorted(asked - found.keys()):
        raise Error(f"constraints.txt does not pin {', '.join(missing)}")
    needed, before = set(asked), 0
    while len(needed) > before:
        before = len(needed)
        needed |= {name for name, block in found.items() if _needed_by(block) & needed}
    kept = (re.sub(r"^\s+#.*\n", "", found[name], flags=re.MULTILINE) for name in sorted(needed))
    return "".join(kept).rstrip("\n")


def _needed_by(block: str) -> set[str]:
    comments = re.findall(r"^\s+#(?: via)?\s+([\w.-]+)", block, re.MULTILINE)
    return {_package(name) for name in comments}


def _package(spec: str) -> str:
    """The normal form of the name that a requirement starts with."""
    name = re.match(r"[A-Za-z0-9._-]+", spec)
    assert name is not None, f"{spec!r} is not a requirement"
    return re.sub(r"[-_.]+", "-", name[0]).lower()
