"""The root of the command line: help, versions, typing errors, start-up time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.commands.man import page
from cli.exit import Exit
from cli.main import COMMANDS, main, root
from frazil import __version__

HELP = Path(__file__).with_name("help.txt")
"""What every command says of itself. After a wanted change: FRAZIL_UPDATE_HELP=1 pytest tests/unit/cli/test_main.py, then read it."""


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context, terminal_width=100, max_content_width=100)
        yield inner.command_path, command, inner
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def everything() -> list[tuple[str, click.Command, click.Context]]:
    context = click.Context(root, info_name="frazil", terminal_width=100, max_content_width=100)
    return [("frazil", root, context), *_commands(root, context)]


def test_the_help_of_every_command() -> None:
    text = "\n".join(f"$ {path} --help\n{command.get_help(context)}\n" for path, command, context in everything())
    if os.environ.get("FRAZIL_UPDATE_HELP"):
        HELP.write_text(text)
    assert text == HELP.read_text()


def test_the_root_knows_each_commands_short_help() -> None:
    for path, command, _ in everything():
        words = path.split()
        if len(words) == 2:
            assert COMMANDS[words[1]][1] == command.get_short_help_str(200)


def test_every_command_understands_the_common_options() -> None:
    for path, command, context in everything()[1:]:
        if isinstance(command, click.Group) or path.split()[-1] in ("completion", "man"):
            continue
        names = {name for parameter in command.get_params(context) for name in parameter.opts}
        assert {"--json", "--store", "--profile", "--quiet", "--color", "--help"} <= names, path


def test_every_option_is_explained() -> None:
    for path, command, context in everything():
        for parameter in command.get_params(context):
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.name)
                assert parameter.help.rstrip("].").strip(), path


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"frazil {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lss"], "meant 'ls'?"),
        (["ls", "--nope"], "No such option"),
        (["cp", "only-one"], "Missing argument"),
        (["cp", "a", "b"], "s3://BUCKET/KEY"),
        (["cp", "s3://bucket", "."], "give -r"),
        (["put", "-", "s3://bucket"], "needs a key"),
        (["presign", "s3://bucket"], "takes an object"),
        (["presign", "s3://bucket/k", "--expires", "8d"], "7d"),
        (["up"], "Missing argument"),
        (["top"], "needs a terminal"),
        (["up", "dir", "--listen", "nonsense"], "HOST:PORT"),
        (["key", "create", "x", "--access-key", "AK"], "go together"),
        (["ls", "none:bucket"], "no profile"),
    ],
)
def test_usage_errors_end_with_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(arguments) == Exit.USAGE
    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err


def test_no_traceback_but_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["ls"]) == Exit.USAGE
    captured = capsys.readouterr()
    assert captured.err.startswith("frazil: error: no store is known; start one")
    assert captured.err.count("\n") == 1


def test_errors_are_records_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["--json", "ls", "--store", str(tmp_path)]) == Exit.NOT_FOUND
    assert '"type":"error"' in capsys.readouterr().out


def test_the_manual_has_every_command_and_is_troff() -> None:
    text = page()
    for path, command, _ in everything()[1:]:
        name = path.removeprefix("frazil ").replace("-", "\\-")
        assert (f".SS {name} " in text) != command.hidden, path
    assert text.count("FRAZIL_PROFILE") == 2, "what every command understands is told once, and in ENVIRONMENT"
    assert ".SH EXIT STATUS" in text


@pytest.mark.slow
def test_help_imports_little() -> None:
    code = "import sys; from cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert not loaded & {"trio", "httpcore", "rich", "apsw", "awscrt", "cryptography", "store.store", "s3.gateway"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_FRAZIL_COMPLETE" in capsys.readouterr().out
