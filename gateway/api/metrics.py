"""Prometheus metrics: base units, no call id, number or name as a label."""

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.app.anchoring import Anchoring
from gateway.app.latency import NAMES, LatencyTap
from gateway.app.switchboard import Switchboard
from gateway.domain.commands import CallOver, Command
from gateway.domain.events import Event

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0, 2.5)


class _Calls(Collector):
    def __init__(self, switchboard: Switchboard) -> None:
        self.switchboard = switchboard

    def collect(self) -> "list[Metric]":
        live = GaugeMetricFamily(
            "consentgw_calls", "Live calls by phase and observed recorder", labels=["phase", "recorder"]
        )
        counts: dict[tuple[str, str], int] = {}
        for session in self.switchboard.sessions.values():
            key = (str(session.call.phase), str(session.call.recorder.observed))
            counts[key] = counts.get(key, 0) + 1
        for key, count in counts.items():
            live.add_metric(key, count)
        verdicts = CounterMetricFamily("consentgw_calls_ended", "Ended calls by verdict", labels=["verdict"])
        others = CounterMetricFamily("consentgw_incidents", "Incidents by kind", labels=["kind"])
        for name, count in self.switchboard.totals.items():
            kind, _, value = name.partition("_")
            (verdicts if kind == "verdict" else others).add_metric([value if kind == "verdict" else name], count)
        return [live, verdicts, others]


class Metrics:
    """All metrics of the gateway."""

    def __init__(self, switchboard: Switchboard, anchoring: Anchoring | None = None) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Calls(switchboard))
        capacity = Gauge("consentgw_capacity_calls", "Calls that can be up at once", registry=self.registry)
        capacity.set_function(lambda: switchboard.services.media.max_calls)
        if anchoring is not None:
            age = Gauge("consentgw_anchor_age_seconds", "Since every anchor had the log's head", registry=self.registry)
            age.set_function(anchoring.age_s)
        histograms = {
            name: Histogram(
                f"consentgw_{name}_seconds", name.replace("_", " "), buckets=_BUCKETS, registry=self.registry
            )
            for name in NAMES
        }
        self.latency = LatencyTap(lambda name, seconds: histograms[name].observe(seconds))
        switchboard.services.taps.append(self._tap)

    def _tap(self, call_id: str, what: Event | Command, mono_ns: int) -> None:
        """Measure, and keep nothing of a call that is over."""
        self.latency(call_id, what, mono_ns)
        if isinstance(what, CallOver):
            self.latency.forget(call_id)

    def text(self) -> bytes:
        """Return the metrics in the Prometheus text format."""
        return generate_latest(self.registry)
