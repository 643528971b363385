"""
The command line: one command, one file. A command reads its arguments, calls one function, and chooses the exit code.

A command's module is imported only when it is asked for, and imports what it needs within the function.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
import threading
from importlib import import_module
from typing import NoReturn

import click

from mspctl import __version__, ending
from mspctl.exits import Exit

# name → what it does. Told here, so that --help imports nothing.
COMMANDS = {
    "init": "Make a repository for your customers.",
    "validate": "Check every file; show all problems at once.",
    "plan": "Show what an apply would change, and why.",
    "apply": "Carry out what Git declares, and nothing else.",
    "drift": "Show what was changed outside, and findings.",
    "affected": "Tell which customers a change touches.",
    "comment": "Write a report into a comment on a pull request.",
    "issue": "Keep issues about drift, or about what did not land.",
    "report": "Show what drift runs saw last, also as one page.",
    "notify": "Tell whoever is to know what is new about drift.",
    "reviewed": "Find the plan that was reviewed before a merge.",
    "quick-lane": "Tell whether a plan may be merged by itself.",
    "replan": "Plan other pull requests again after a merge.",
    "gitlab": "Do what pipelines of GitLab need besides.",
    "archive": "Keep the whole configuration of each firewall.",
    "prove": "Make the live tests that are declared.",
    "adopt": "Write live values into the YAML: Git takes over.",
    "accept": "Leave a difference or a finding as it is until a day.",
    "undo": "Edit the YAML back to what one run found.",
    "replace-ip": "Write another address wherever one stands.",
    "import": "Write YAML from files, a target or a spreadsheet.",
    "explain": "Say what a value is and where it comes from.",
    "show": "Show a customer: what is declared and recorded.",
    "firewall": "Look after a customer's firewalls.",
    "inventory": "Print hosts for other programs: Ansible, OpenSSH.",
    "mail": "Look after a customer's mail.",
    "restore": "Find files in backups, and give them back.",
    "secret": "Put secrets where they are looked for; hand passwords over.",
    "schema": "Write JSON Schemas for editors.",
    "unlock": "Show who holds which lock; break the lock of a dead run.",
    "ledger": "Look after the record of what was applied.",
}


class Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"{__name__}.{name.replace('-', '_')}_")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mspctl")
@click.option("-C", "--directory", metavar="DIR", help="The repository; by default the one you stand in.")
@click.option("-v", "--verbose", count=True, help="Log what is done to stderr; -vv logs more.")
@click.pass_context
def group(ctx: click.Context, directory: str | None, verbose: int) -> None:
    """Customers of a managed service provider, described in YAML, made true on real servers."""
    ctx.obj = directory
    if verbose:
        from mspctl.cli import logs

        logs.start(verbose)


def main(argv: list[str] | None = None) -> None:
    # A run builds one estate, which has no cycles, and ends: to search it again and again for garbage is lost time.
    gc.set_threshold(100_000, 50, 100)
    _leave(run(sys.argv[1:] if argv is None else argv))


def _leave(code: int) -> NoReturn:
    """Nothing is open any more, and taking the estate to pieces would be a tenth of a plan's time."""
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except OSError:
        if code:  # it was told that something went wrong; how it ends says that, and not what Python makes of the rest
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(code)  # Python says what was lost
    if threading.active_count() > 1:
        sys.exit(code)  # and it waits for the others
    os._exit(code)


def run(argv: list[str]) -> int:
    """The exit code of a command line; whatever goes wrong is told in plain lines."""
    try:
        return _run(argv)
    finally:
        ending.end()


def _run(argv: list[str]) -> int:
    from mspctl.errors import Error

    try:
        result = group.main(argv, prog_name="mspctl", standalone_mode=False)
        return int(result or 0)
    except click.UsageError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        error.show()
        return Exit.ERROR
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Error as error:
        return _say(error)
    except OSError as error:
        if error.errno != errno.ENOSPC or os.environ.get("MSPCTL_DEBUG"):
            return _defect(error)
        return _say(Error("there is no space left for what is written"))
    except Exception as error:  # noqa: BLE001
        return _defect(error)


def _say(error: Exception) -> int:
    from mspctl.cli import console
    from mspctl.errors import InputError

    if isinstance(error, InputError):
        console.problems(error.problems)
    else:
        console.error(str(error))
    return Exit.ERROR


def _defect(error: Exception) -> int:
    from mspctl.cli import console

    if os.environ.get("MSPCTL_DEBUG"):
        raise error
    console.error(
        f"a defect in mspctl: {type(error).__name__}: {error} (run again with MSPCTL_DEBUG=1 and report what it prints)"
    )
    return Exit.ERROR
