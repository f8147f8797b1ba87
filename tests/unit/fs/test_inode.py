"""The inodes that the kernel knows."""

from __future__ import annotations

from fs.inode import ROOT, Inode, InodeTable


def table(bucket: str = "b", prefix: str = "") -> InodeTable:
    root = Inode(ROOT, None, b"", "", folder=True)
    root.bucket, root.prefix = bucket, prefix
    return InodeTable(root)


def add(inodes: InodeTable, parent: Inode, name: str, *, folder: bool = False) -> Inode:
    inode = inodes.add(parent, name.encode(), name, folder=folder)
    inode.lookups = 1
    return inode


def test_a_key_follows_from_the_names_above() -> None:
    inodes = table(prefix="p/")
    folder = add(inodes, inodes.root, "a", folder=True)
    empty = add(inodes, folder, "", folder=True)
    file = add(inodes, empty, "c")
    assert inodes.root.place == ("b", "p/")
    assert folder.place == ("b", "p/a/")
    assert empty.place == ("b", "p/a//")
    assert file.place == ("b", "p/a//c")


def test_buckets_are_the_folders_below_the_root_of_all() -> None:
    inodes = table(bucket="")
    bucket = add(inodes, inodes.root, "pictures", folder=True)
    bucket.bucket = "pictures"
    assert bucket.place == ("pictures", "")
    assert add(inodes, bucket, "a").place == ("pictures", "a")


def test_what_the_kernel_forgets_goes_with_what_was_only_here_for_it() -> None:
    inodes = table()
    folder = add(inodes, inodes.root, "a", folder=True)
    file = add(inodes, folder, "c")
    inodes.forget([(folder.number, 1)])
    assert len(inodes) == 3
    inodes.forget([(file.number, 1)])
    assert len(inodes) == 1
    assert inodes.child(inodes.root, b"a") is None


def test_an_open_file_stays_when_it_is_forgotten() -> None:
    inodes = table()
    file = add(inodes, inodes.root, "a")
    inodes.open(file)
    inodes.forget([(file.number, 1)])
    assert inodes.get(file.number) is file
    inodes.close(file)
    assert inodes.get(file.number) is None


def test_a_new_file_under_an_old_name_is_another_inode() -> None:
    inodes = table()
    old = add(inodes, inodes.root, "a")
    new = add(inodes, inodes.root, "a")
    assert old.gone
    assert inodes.get(old.number) is old
    assert inodes.child(inodes.root, b"a") is new
    inodes.forget([(old.number, 1)])
    assert inodes.child(inodes.root, b"a") is new


def test_what_lies_in_a_moved_folder_moves_with_it() -> None:
    inodes = table()
    folder, other = add(inodes, inodes.root, "a", folder=True), add(inodes, inodes.root, "o", folder=True)
    file = add(inodes, folder, "c")
    replaced = add(inodes, other, "n", folder=True)
    file.seq = folder.seq = 5
    inodes.move(folder, other, b"n", "n")
    assert file.place == ("b", "o/n/c")
    assert (file.seq, folder.seq) == (0, 0)
    assert replaced.gone
    assert inodes.child(inodes.root, b"a") is None


def test_two_names_change_places() -> None:
    inodes = table()
    folder = add(inodes, inodes.root, "a", folder=True)
    one, other = add(inodes, folder, "one"), add(inodes, inodes.root, "other")
    inodes.exchange(one, other)
    assert one.place == ("b", "other")
    assert other.place == ("b", "a/one")
    assert inodes.child(folder, b"one") is other


def test_the_root_stays_whatever_is_forgotten() -> None:
    inodes = table()
    inodes.forget([(ROOT, 100), (77, 1)])
    assert inodes.get(ROOT) is inodes.root
