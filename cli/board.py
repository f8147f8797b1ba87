"""The board that a store runs by itself (`up --board DIR`): its freezer, and a worker for each of its buses, as processes beside the store.

DIR/freezer.toml     the freezer's configuration;  DIR/worker-<bus>.toml: of a bus's worker
FIRST/run/freezer.toml   leads to DIR/freezer.toml, for `frazil freezer`
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.children import ChildProcess
from cli.exit import Exit, Hinted
from cli.state import SECRET_FILE
from glacier.config import FreezerConfig
from glacier.loopplan import CONFIG_FILE, LoopPlan, worker_config, write_loop_config
from glacier.reach import address_of
from node.config import load
from store.settings import load_settings

BOARD_LINK = f"run/{CONFIG_FILE}"


class Board:
    """directory: may be missing yet, then the board is LoopPlan's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()

    def __repr__(self) -> str:
        return f"<Board {self._directory}>"

    @property
    def config(self) -> Path:
        return self._directory / CONFIG_FILE

    @property
    def workers(self) -> tuple[str, ...]:
        """Sockets of its workers, in the order of its buses. Raises: ConfigError."""
        buses = len(load(FreezerConfig, self.config).buses) if self.config.exists() else LoopPlan().buses
        return tuple(f"unix:{self._directory}/worker-{bus}.sock" for bus in range(buses))

    def make(self, first: Path, plan: LoopPlan) -> None:
        """Writes the configurations that are missing, for the store in `first` and its volumes. Raises: Hinted, ConfigError, OSError."""
        settings = load_settings(first)
        assert settings is not None
        volumes = [settings.path_of(slot, first) for slot in settings.volumes]
        self.make_for(settings.namespace, first / SECRET_FILE, volumes, plan)

    def make_for(self, namespace: str, key: Path, volumes: Sequence[Path], plan: LoopPlan) -> None:
        """As make, for volumes of a namespace; "" where the node that runs the board says which it is."""
        if not self.config.exists():
            write_loop_config(self._directory, plan, namespace=namespace, key=key)
        config = load(FreezerConfig, self.config)
        if config.namespace != namespace:
            raise Hinted(f"{self.config} is the board of another store", "give --board a new directory", code=Exit.CONFLICT)
        for bus, served in enumerate(config.buses):
            path = self.worker_file(bus)
            if not path.exists():
                mine = volumes[bus :: len(config.buses)] or volumes[:1]
                text = worker_config(self._directory, bus, mine, freezer=address_of(served.listen), config=config)
                path.write_text(text)

    def children(self, first: Path) -> Iterator[ChildProcess]:
        """In the order of starting. Raises: as make."""
        self.make(first, LoopPlan())
        link = first / BOARD_LINK
        link.unlink(missing_ok=True)
        os.symlink(self.config, link)
        yield ChildProcess("freezer", ["freezer", "serve", str(self.config)])
        for bus in range(len(self.workers)):
            yield ChildProcess(f"worker {bus}", ["glacier", "serve", str(self.worker_file(bus))])

    def worker_file(self, bus: int) -> Path:
        return self._directory / f"worker-{bus}.toml"
