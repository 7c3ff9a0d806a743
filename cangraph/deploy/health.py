"""What operations see of a watch: its statistics as metrics for Prometheus, per bus."""

from collections.abc import Iterator, Sequence
from typing import Any

from cangraph.extras import named_extra

# a metric, the field of `statistics` that it shows, its other labels, and what it says; those that
# end in _total only grow
_METRICS: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("frames_total", "frames", {}, "frames that were judged"),
    ("dropped_frames_total", "dropped_queue", {"by": "queue"}, "frames that were not judged"),
    ("dropped_frames_total", "dropped_kernel", {"by": "kernel"}, "frames that were not judged"),
    ("refused_frames_total", "refused", {}, "what came and was no frame"),
    ("error_frames_total", "error_frames", {}, "error frames of the bus"),
    ("bus_busy_seconds_total", "busy", {}, "time of frames on the bus: its rate is the load"),
    ("windows_total", "windows", {}, "windows that were judged"),
    ("windows_called_total", "called", {}, "windows at or over the threshold"),
    ("windows_unjudged_total", "unjudged", {}, "windows that the detector has no number for"),
    ("alarms_total", "alarms", {}, "alarms that were raised"),
    ("queue_frames", "behind", {}, "frames that wait"),
    ("window_seconds", "p50_ms", {"quantile": "0.5"}, "time for a window, of the last 1000"),
    ("window_seconds", "p99_ms", {"quantile": "0.99"}, "time for a window, of the last 1000"),
    ("ids", "ids", {}, "arbitration IDs that are known"),
    ("alarm", "alarm", {}, "1 while there is an alarm"),
    ("calibrating", "calibrating", {}, "1 while the threshold is set"),
    ("interface_lost", "lost", {}, "1 while the interface is away"),
    ("detector_fits", "fits", {}, "0 once an alarm held for a minute, or windows have no number"),
)


class Health:
    """Serves the last `facts`, statistics of each bus, as metrics on a port; at once, since a bus
    that is watched need not have a frame.

    Raises `MissingExtraError` without prometheus-client, `OSError` where the port is taken.
    """

    def __init__(self, host: str, port: int):
        with named_extra("cangraph monitor --prometheus"):
            from prometheus_client import CollectorRegistry, start_http_server
        self.facts: Sequence[dict[str, Any]] = ()  # is replaced, never changed: a thread reads it
        registry = CollectorRegistry()
        registry.register(self)  # type: ignore[arg-type]
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            came = f"--prometheus {host}:{port}: {error.strerror}"
            raise OSError(f"{came}; expected a free port of this machine; name another") from error

    def collect(self) -> Iterator[Any]:
        """The metrics, for prometheus-client."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        found: dict[str, Any] = {}
        for name, field, labels, says in _METRICS:
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            if name not in found:
                found[name] = family(f"cangraph_{name}", says, labels=["bus", *labels])
            for fact in self.facts:
                if fact.get(field) is not None:
                    value = fact[field] / (1000 if field.endswith("_ms") else 1)
                    found[name].add_metric([fact.get("bus", ""), *labels.values()], value)
        yield from found.values()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
