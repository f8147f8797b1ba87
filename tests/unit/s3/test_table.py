from __future__ import annotations

from s3.table import README, rewritten


def test_the_readmes_operation_table_is_current() -> None:
    readme = README.read_text()
    assert rewritten(readme) == readme, "run: make s3-table WRITE=1"
