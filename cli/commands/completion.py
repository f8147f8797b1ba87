"""completion: the script that makes a shell complete commands, options, buckets and keys."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cli.exit import Exit


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> Exit:
    """Print the completion script of SHELL.

    bash: eval "$(frazil completion bash)"; zsh: eval "$(frazil completion zsh)"; fish: frazil completion fish | source
    """
    made = get_completion_class(shell)
    assert made is not None
    from cli.main import root

    click.echo(made(root, {}, "frazil", "_FRAZIL_COMPLETE").source())
    return Exit.OK
