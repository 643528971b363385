"""`mspctl gitlab`: what pipelines of GitLab need besides. Its commands are the modules `gitlab_*_` beside this one."""

from __future__ import annotations

import click

from mspctl.cli.members import Members


@click.group("gitlab", cls=Members, help="Do what pipelines of GitLab need and its CI does not do by itself.")
def command() -> None:
    pass
