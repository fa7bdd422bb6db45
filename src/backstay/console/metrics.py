"""`/metrics` in the Prometheus text format, rendered from Observations when it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..db.database import Database
from ..engine import Engine
from ..http.messages import Request, Response
from ..observe import BUCKETS, Observations, Series


class Metrics:
    """Answers scrapes; nothing is registered globally, so that two apps in a process do not mix."""

    def __init__(self, observations: Observations, engine: Engine, database: Database) -> None:
        self._observations = observations
        self._engine = engine
        self._database = database

    def scrape(self, request: Request) -> Response:
        """The whole page."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.exposition import CONTENT_TYPE_LATEST

        registry = CollectorRegistry()
        registry.register(self)  # type: ignore[arg-type]
        body = generate_latest(registry)
        return Response(200, body, [(b"content-type", CONTENT_TYPE_LATEST.encode())])

    def collect(self) -> Iterator[Any]:
        """The metric families, for prometheus_client."""
        yield from self._requests()
        yield from self._statements()
        yield from self._versions()
        yield from self._gauges()

    def _requests(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        total = CounterMetricFamily("backstay_requests", "Requests answered.", labels=["method", "route", "status"])
        seconds = HistogramMetricFamily(
            "backstay_request_seconds", "Time to answer a request.", labels=["method", "route"]
        )
        for (method, route), series in self._observations.requests.items():
            for status, count in sorted(series.outcomes.items()):
                total.add_metric([method, route, str(status)], count)
            if series.count:
                seconds.add_metric([method, route], _buckets(series), series.seconds)
        yield total
        yield seconds

    def _statements(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily

        labels = ["resource", "action"]
        count = CounterMetricFamily("backstay_statements", "Statements run.", labels=labels)
        seconds = CounterMetricFamily(
            "backstay_statement_seconds", "Time in the database, waiting included.", labels=labels
        )
        for (resource, action), tally in self._observations.statements.items():
            count.add_metric([resource, action], tally.count)
            seconds.add_metric([resource, action], tally.seconds)
        yield count
        yield seconds

    def _versions(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        count = CounterMetricFamily(
            "backstay_version_requests", "Requests to an older version of the API.", labels=["version"]
        )
        callers = GaugeMetricFamily(
            "backstay_version_callers",
            "Its callers since the process started; the log has them.",
            labels=["version"],
        )
        for version, usage in self._observations.versions.items():
            count.add_metric([version], usage.count)
            callers.add_metric([version], len(usage.callers))
        yield count
        yield callers

    def _gauges(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        gauges = self._database.gauges()
        hits, misses, size = self._engine.cached_statements()
        yield GaugeMetricFamily(
            "backstay_requests_in_flight", "Requests being answered.", value=self._observations.in_flight
        )
        yield GaugeMetricFamily(
            "backstay_writes_waiting", "Writes that wait for the writer or a connection.", value=gauges.writes_waiting
        )
        yield GaugeMetricFamily(
            "backstay_slow_reads_running", "Reads in threads or on connections.", value=gauges.reads_running
        )
        yield GaugeMetricFamily(
            "backstay_database_connections", "Open database connections for requests.", value=gauges.connections
        )
        yield CounterMetricFamily(
            "backstay_replica_reads", "Reads that a replica answered.", value=gauges.replica_reads
        )
        yield CounterMetricFamily(
            "backstay_reads_spilled", "Reads that were too slow to share.", value=gauges.reads_spilled
        )
        yield GaugeMetricFamily("backstay_statement_cache_size", "Compiled statements held.", value=size)
        yield CounterMetricFamily("backstay_statement_cache_hits", "Statements found compiled.", value=hits)
        yield CounterMetricFamily("backstay_statement_cache_misses", "Statements compiled.", value=misses)
        yield GaugeMetricFamily(
            "backstay_start_time_seconds",
            "When the process started, Unix time.",
            value=self._observations.started.timestamp(),
        )


def _buckets(series: Series) -> list[tuple[str, float]]:
    total = 0
    found: list[tuple[str, float]] = []
    for bound, count in zip((*BUCKETS, None), series.buckets, strict=True):
        total += count
        found.append(("+Inf" if bound is None else repr(bound), total))
    return found
