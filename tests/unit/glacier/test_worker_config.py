from __future__ import annotations

import tomllib
from dataclasses import asdict, fields
from pathlib import Path

import pytest

import glacier.worker.config
from glacier.backlog import Kind
from glacier.schedule import DEFAULT_TERMS
from glacier.worker.config import WorkerConfig
from node.config import load, parse
from node.errors import ConfigError

SAMPLE = Path(glacier.worker.config.__file__).with_name("worker.toml")


def test_the_sample_says_every_default() -> None:
    assert load(WorkerConfig, SAMPLE) == WorkerConfig()
    assert set(tomllib.loads(SAMPLE.read_text())) == {field.name for field in fields(WorkerConfig)}
    assert set(tomllib.loads(SAMPLE.read_text())["waits"]) == set(asdict(WorkerConfig().waits))


def test_what_nobody_changes_is_scheduled_as_the_simulator_tries_it() -> None:
    scheduler = WorkerConfig().options.schedule()
    for kind in Kind:
        if kind is not Kind.VERIFY:
            assert scheduler.terms[kind] == DEFAULT_TERMS[kind]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("together = 0", "together"),
        ("[waits.bulk]\nhold_s = 5.0\npatience_s = 1.0\nbound_s = 9.0", "grow"),
        ("volume = []", "volumes"),
    ],
)
def test_what_can_not_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse(WorkerConfig, text)


def test_a_worker_that_is_to_run_needs_volumes() -> None:
    with pytest.raises(ConfigError, match="namespace"):
        WorkerConfig().check()
    with pytest.raises(ConfigError, match="volumes"):
        WorkerConfig(namespace="n").check()
