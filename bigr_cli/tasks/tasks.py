"""`bigr tasks`: the commands that there are, and where each comes from."""

from bigr_cli import console
from bigr_cli.options import Json
from bigr_cli.registry import discover, task


@task("tasks", help="List every command with the package it comes from.", examples=["bigr tasks --json"])
def tasks(json: Json = False) -> None:
    """Other packages add commands through the entry point group [bold]bigr.tasks[/bold].

    BIGR_PLUGINS=none leaves them all out; BIGR_PLUGINS=a,b loads only these.
    """
    registry = discover()
    listed = [entry for entry in registry.tasks.values() if not entry.hidden]
    listed.sort(key=lambda entry: (entry.origin.distribution != "bigr-cli", entry.name))
    if not json:
        console.table(("task", "what it does", "from"), [(e.name, e.help, str(e.origin)) for e in listed])
        return
    for entry in listed:
        console.json_line(
            {
                "task": entry.name,
                "help": entry.help,
                "package": entry.origin.distribution,
                "version": entry.origin.version,
            }
        )
