"""What people run on a file system: git, make, SQLite, tar, rsync."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.fs.conftest import Place
from tests.conftest import SCALE
from tests.support.need import need_programs
from tests.support.twin import tree

RUN_S = 120 * max(SCALE / 20, 1)
FILES = 100
"""Of one tree; at scale 1. 20,000 are scale 200."""
SQLITE_STEPS = 10
"""Transactions, at scale 1."""
pytestmark = pytest.mark.timeout(3600)


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Raises: AssertionError with what the program said."""
    environment = {**os.environ, "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1", **variables}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def commit(top: Path, message: str) -> None:
    run("git", "add", "-A", cwd=top)
    run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", message, cwd=top)


@pytest.fixture
def sources(scratch: Path) -> Path:
    """A small C project in a repository."""
    need_programs("git", "make", "cc")
    top = scratch / "project"
    (top / "src").mkdir(parents=True)
    modules = [f"m{number}" for number in range(8)]
    for name in modules:
        (top / "src" / f"{name}.c").write_text(f"int {name}(void) {{ return {len(name)}; }}\n")
    (top / "src" / "main.c").write_text(
        "".join(f"int {name}(void);\n" for name in modules)
        + "int main(void) { return ("
        + " + ".join(f"{name}()" for name in modules)
        + ") - 16; }\n"
    )
    (top / "Makefile").write_text(
        "objects := $(patsubst src/%.c,build/%.o,$(wildcard src/*.c))\n"
        "app: $(objects)\n\tcc -o $@ $^\n"
        "build/%.o: src/%.c | build\n\tcc -c -o $@ $<\n"
        "build:\n\tmkdir -p $@\n"
    )
    (top / "link").symlink_to("src/main.c")
    run("git", "init", "-q", "-b", "main", cwd=top)
    commit(top, "first")
    return top


def test_git_clones_commits_branches_and_finds_its_objects_whole(ground: Path, sources: Path) -> None:
    clone = ground / "clone"
    run("git", "clone", "-q", sources, clone, cwd=ground)
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    run("git", "checkout", "-qb", "work", cwd=clone)
    for number in range(3):
        (clone / "src" / "m0.c").write_text(f"int m0(void) {{ return {number}; }}\n")
        commit(clone, f"change {number}")
    run("git", "checkout", "-q", "main", cwd=clone)
    run("git", "merge", "-q", "work", cwd=clone)
    run("git", "gc", "-q", cwd=clone)
    run("git", "fsck", "--strict", cwd=clone)
    run("git", "clone", "-q", clone, ground / "copied where it can't be linked", cwd=ground)
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    assert "return 2" in (clone / "src" / "m0.c").read_text()


def test_make_builds_once_and_again_what_has_changed(ground: Path, sources: Path) -> None:
    need_programs("make", "cc")
    project = ground / "project"
    shutil.copytree(sources, project, symlinks=True)
    run("make", "-j4", cwd=project)
    run("./app", cwd=project)
    assert "up to date" in run("make", cwd=project)
    (project / "src" / "m1.c").write_text("int m1(void) { return 2; } /* changed */\n")
    said = run("make", cwd=project)
    assert "m1.c" in said
    assert "m2.c" not in said
    run("./app", cwd=project)


@pytest.mark.parametrize("journal", ["delete", "truncate", "persist"])
def test_sqlite_writes_reads_and_is_whole(ground: Path, journal: str, scale: float) -> None:
    database = sqlite3.connect(ground / "base.db", timeout=30)
    database.execute(f"PRAGMA journal_mode={journal}")
    database.execute("CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB)")
    for step in range(int(SQLITE_STEPS * scale)):
        with database:
            database.executemany(
                "INSERT OR REPLACE INTO t VALUES (?, ?)", [(step * 5 + at, bytes([step % 251]) * 3_000) for at in range(10)]
            )
    database.execute("DELETE FROM t WHERE k % 3 = 0")
    database.commit()
    database.execute("VACUUM")
    wanted = database.execute("SELECT count(*), total(length(v)) FROM t").fetchone()
    database.close()
    program = f"import sqlite3; d = sqlite3.connect({str(ground / 'base.db')!r}); print(d.execute('PRAGMA integrity_check').fetchone()[0])"
    assert run(sys.executable, "-c", program, cwd=ground).strip() == "ok"
    again = sqlite3.connect(ground / "base.db")
    assert again.execute("SELECT count(*), total(length(v)) FROM t").fetchone() == wanted
    again.close()


def test_two_processes_share_a_base(ground: Path) -> None:
    base = ground / "shared.db"
    program = (
        "import sqlite3, sys\n"
        f"d = sqlite3.connect({str(base)!r}, timeout=60, isolation_level=None)\n"
        "for n in range(20):\n"
        "    d.execute('BEGIN IMMEDIATE')\n"
        "    d.execute('UPDATE t SET n = n + 1')\n"
        "    d.execute('COMMIT')\n"
    )
    with sqlite3.connect(base) as database:
        database.execute("CREATE TABLE t(n INTEGER)")
        database.execute("INSERT INTO t VALUES (0)")
    database.close()
    both = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [each.wait(timeout=RUN_S) for each in both] == [0, 0]
    database = sqlite3.connect(base)
    assert database.execute("SELECT n FROM t").fetchone() == (40,)
    database.close()


def a_tree(top: Path, count: int) -> None:
    """So many files of some kinds in some folders, with links and odd names."""
    for number in range(count):
        folder = top / f"d{number % 7}" / f"e{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"file {number} ä"
        path.write_bytes(os.urandom((number * 37) % 9_000))
        path.chmod((0o644, 0o600, 0o755)[number % 3])
        os.utime(path, (number, 1_000_000 + number))
    (top / "link").symlink_to("d0")
    (top / "empty").mkdir()


def test_tar_packs_and_unpacks_a_tree(place: Place, ground: Path, scratch: Path, scale: float) -> None:
    need_programs("tar")
    a_tree(scratch / "tree", int(FILES * scale))
    run("tar", "-cf", scratch / "t.tar", "-C", scratch / "tree", ".", cwd=scratch)
    (ground / "out").mkdir()
    run("tar", "-xf", scratch / "t.tar", "-C", ground / "out", cwd=ground)
    assert tree(ground / "out") == tree(scratch / "tree")
    assert (ground / "out/d1/e1/file 1 ä").stat().st_mtime == 1_000_001
    run("tar", "-cf", ground / "back.tar", "-C", ground / "out", ".", cwd=ground)
    place.remount()
    (scratch / "back").mkdir()
    run("tar", "-xf", ground / "back.tar", "-C", scratch / "back", cwd=scratch)
    assert tree(scratch / "back") == tree(scratch / "tree")


def test_rsync_copies_a_tree_and_then_only_what_differs(ground: Path, scratch: Path, scale: float) -> None:
    need_programs("rsync")
    a_tree(scratch / "tree", int(FILES * scale))
    (ground / "out").mkdir()
    run("rsync", "-aX", f"{scratch}/tree/", ground / "out", cwd=scratch)
    assert tree(ground / "out") == tree(scratch / "tree")
    assert run("rsync", "-aXi", f"{scratch}/tree/", ground / "out", cwd=scratch) == ""
    (scratch / "tree/d1/e1/file 1 ä").write_bytes(b"changed")
    shutil.rmtree(scratch / "tree/d2")
    run("rsync", "-aX", "--delete", "--inplace", "--no-whole-file", f"{scratch}/tree/", ground / "out", cwd=scratch)
    assert tree(ground / "out") == tree(scratch / "tree")


def test_a_tree_is_copied_moved_and_removed(ground: Path, scratch: Path) -> None:
    a_tree(scratch / "tree", 60)
    wanted = tree(scratch / "tree")
    run("cp", "-a", scratch / "tree", ground / "one", cwd=ground)
    run("cp", "-a", ground / "one", ground / "two", cwd=ground)
    run("mv", ground / "one", ground / "three", cwd=ground)
    assert tree(ground / "two") == wanted
    assert tree(ground / "three") == wanted
    run("diff", "-r", ground / "two", ground / "three", cwd=ground)
    run("rm", "-r", ground / "two", ground / "three", cwd=ground)
    assert os.listdir(ground) == []
