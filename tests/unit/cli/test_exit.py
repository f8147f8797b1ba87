"""Errors into exit codes and words."""

from __future__ import annotations

import errno

import pytest

from cli.exit import Exit, Hinted, NeedsRestore, combined, main_cause, to_exit, to_words
from node import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ObjectNotFound("x"), Exit.NOT_FOUND),
        (errors.Denied("x"), Exit.DENIED),
        (errors.CallNotAuthenticated("x"), Exit.DENIED),
        (errors.Busy("x"), Exit.TEMPORARY),
        (errors.VolumeFull("x"), Exit.TEMPORARY),
        (errors.ContentLost("x"), Exit.DAMAGED),
        (errors.ChecksumMismatch("x"), Exit.DAMAGED),
        (errors.PreconditionFailed("x"), Exit.CONFLICT),
        (errors.BucketNotEmpty("x"), Exit.CONFLICT),
        (errors.Locked("x"), Exit.DENIED),
        (NeedsRestore("x"), Exit.NEEDS_RESTORE),
        (errors.InvalidArgument("x"), Exit.FAILED),
        (errors.ConfigError("x"), Exit.USAGE),
        (errors.NotImplementedYet("x"), Exit.FAILED),
        (Hinted("x", code=Exit.CONFLICT), Exit.CONFLICT),
        (FileNotFoundError(errno.ENOENT, "no", "f"), Exit.NOT_FOUND),
        (PermissionError(errno.EACCES, "no", "f"), Exit.DENIED),
        (OSError(errno.ENOSPC, "full"), Exit.TEMPORARY),
        (OSError(errno.EIO, "io"), Exit.FAILED),
        (BrokenPipeError(), Exit.PIPE),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (ValueError("bug"), Exit.FAILED),
        (ExceptionGroup("g", [ValueError("bug"), errors.Busy("x")]), Exit.TEMPORARY),
        (BaseExceptionGroup("g", [errors.Busy("x"), KeyboardInterrupt()]), Exit.INTERRUPTED),
    ],
)
def test_exit_code(error: BaseException, code: Exit) -> None:
    assert to_exit(error) is code


def test_every_deliberate_error_has_a_code_and_one_line_of_words() -> None:
    def leaves(kind: type[errors.FrazilError]) -> list[type[errors.FrazilError]]:
        """Of the tree itself: the gateway's own S3Error never reaches the command."""
        below = [leaf for child in kind.__subclasses__() for leaf in leaves(child)]
        return [kind, *below] if kind.__module__ in (errors.__name__, Hinted.__module__) else below

    for kind in leaves(errors.FrazilError):
        error = kind("two\nlines") if kind is not Hinted else Hinted("two lines")
        assert to_exit(error) in Exit
        cause, hint = to_words(error)
        assert "\n" not in cause + hint


def test_words_name_the_file() -> None:
    assert to_words(FileNotFoundError(errno.ENOENT, "No such file or directory", "f"))[0] == "f: No such file or directory"


def test_a_bug_says_how_to_see_more() -> None:
    cause, hint = to_words(ExceptionGroup("g", [ValueError("oops")]))
    assert cause == "unexpected ValueError: oops"
    assert "FRAZIL_DEBUG" in hint


def test_the_interrupt_is_the_main_cause() -> None:
    assert isinstance(main_cause(BaseExceptionGroup("g", [OSError(), BaseExceptionGroup("h", [KeyboardInterrupt()])])), KeyboardInterrupt)


@pytest.mark.parametrize(
    ("codes", "successes", "code"),
    [
        ([], 0, Exit.OK),
        ([Exit.NOT_FOUND], 1, Exit.PARTIAL),
        ([Exit.NOT_FOUND], 0, Exit.NOT_FOUND),
        ([Exit.NOT_FOUND, Exit.NOT_FOUND], 0, Exit.NOT_FOUND),
        ([Exit.NOT_FOUND, Exit.DENIED], 0, Exit.FAILED),
    ],
)
def test_codes_of_many_operations(codes: list[Exit], successes: int, code: Exit) -> None:
    assert combined(codes, successes) is code
