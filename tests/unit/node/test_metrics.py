"""Metrics: counted cheaply, shown as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from node import metrics


def test_requests_become_a_histogram_and_a_counter() -> None:
    requests = metrics.Requests("test_component")
    requests.count("GetObject", 200, 0.003, 4096)
    requests.count("GetObject", 200, 100.0, 1)
    requests.count("PutObject", 503, 0.0001)
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }
    get = (("code", "200"), ("operation", "GetObject"))
    assert samples[("frazil_test_component_request_seconds_count", *get)] == 2
    assert samples[("frazil_test_component_request_seconds_bucket", ("code", "200"), ("le", "0.002"), get[1])] == 0
    assert samples[("frazil_test_component_request_seconds_bucket", ("code", "200"), ("le", "0.005"), get[1])] == 1
    assert samples[("frazil_test_component_sent_bytes_total", *get)] == 4097
    assert samples[("frazil_test_component_request_seconds_count", ("code", "503"), ("operation", "PutObject"))] == 1


def test_asking_again_gives_the_same_metric() -> None:
    assert metrics.counter("test_things", "Things.") is metrics.counter("test_things", "Things.")
    metrics.counter("test_things", "Things.").inc()
    metrics.gauge("test_level", "Level.", ("disk",)).labels("d1").set(3)
    metrics.histogram("test_wait_seconds", "Waits.").observe(0.1)
    text = metrics.exposition().decode()
    assert "frazil_test_things_total 1.0" in text
    assert 'frazil_test_level{disk="d1"} 3.0' in text
    assert "process_resident_memory_bytes" in text
