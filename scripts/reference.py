"""The pages of the reference: enters docs/reference and the command line's app, leaves what the pages name, and the commands' page.

A page names what it explains in lines of their own, `::: inceptions.networks.Conv`, which mkdocstrings fills in; `docstrings.py` says how
docstrings become Markdown. The commands' page is typer's own, of the app itself.
"""

from __future__ import annotations

import re
from pathlib import Path

from prose import Column, table

DIRECTIVE = re.compile(r"^::: (\S+)$", re.MULTILINE)

COMMANDS = """\
# Command line

Every command, as `--help` shows it; this page is made from the same code. What a command is about comes first, all else is an option, which
has the same name everywhere. A default stands in brackets, and so does the range of a number. What the
commands are for, the pages from [Train](../train.md) on say.

"""


def documented(docs: Path) -> list[str]:
    """Return the names that the pages of docs/reference explain, in their order."""
    return [name for names in pages(docs).values() for name in names]


def pages(docs: Path) -> dict[str, list[str]]:
    """Return what each page of docs/reference names, by its place beside the others."""
    found = {page.name: DIRECTIVE.findall(page.read_text(encoding="utf-8")) for page in sorted(docs.glob("reference/*.md"))}
    return {page: names for page, names in found.items() if names}


def name_list(docs: Path) -> str:
    """Return a table of the names that `import inceptions` gives at once, each with the page that explains it."""
    rows = []
    for page, names in pages(docs).items():
        title = (docs / "reference" / page).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        rows += [(f"[`{name}`][{name}]", f"[{title}]({page})") for name in names if name.count(".") == 1]
    return table((Column("Name"), Column("Page")), sorted(rows))


def command_page() -> str:
    """Return every command of the command line with its help, arguments and options."""
    import typer
    from typer.cli import get_docs_for_click
    from typer.main import get_group

    from inceptions.cli.commands import app

    group = get_group(app)
    context = typer.Context(group, info_name="inceptions")
    whole = get_docs_for_click(obj=group, ctx=context, name="inceptions")
    first, *commands = whole.split("\n## ")
    options = first.partition("**Options**:\n\n")[2].partition("**Commands**")[0]  # those before a command; the list below cuts words off
    listed = [f"- [`{name}`](#inceptions-{name}): {command.get_short_help_str(1000)}" for name, command in group.commands.items()]
    body = "\n## ".join(["\n".join(listed), f"Before a command\n\n{options}", *commands])
    return f"{COMMANDS}{body}"
