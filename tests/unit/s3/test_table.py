from __future__ import annotations

from pathlib import Path

import s3.table
from s3.table import BEGIN, END, table


def test_the_readmes_operation_table_is_current() -> None:
    readme = (Path(s3.table.__file__).parent / "README.md").read_text()
    shown = readme[readme.index(BEGIN) : readme.index(END) + len(END)]
    assert shown == table(), "run: python -m s3.table"
