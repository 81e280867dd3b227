"""Settings → the sources that the nearline lane reads."""

from assets.lake import Lake
from assets.streams.contract import EventSource
from assets.streams.landing import LandingSource
from orchestration.nearline_lane import utc_now
from orchestration.settings import Settings
from quality.landing_columns import Kind

LANDING_KINDS: tuple[Kind, ...] = ("items", "events")
"""Kinds of landing files that the nearline lane reads, in this order."""


def build_sources(settings: Settings, lake: Lake) -> list[EventSource]:
    """The landing zone always, and the streams that are configured; their clients are imported only then."""
    sources: list[EventSource] = [
        LandingSource(
            lake,
            settings.landing_path,
            settle_seconds=settings.settle_seconds,
            max_bytes=settings.nearline_max_file_mb * 2**20,
            clock=utc_now,
            kind=kind,
        )
        for kind in LANDING_KINDS
    ]
    if settings.nearline_redis_url.get_secret_value():
        from assets.streams.redis_stream import RedisStreamSource

        sources.append(
            RedisStreamSource(settings.nearline_redis_url.get_secret_value(), settings.nearline_redis_stream)
        )
    if settings.nearline_kafka:
        from assets.streams.kafka import KafkaSource

        sources.append(KafkaSource(settings.nearline_kafka, settings.nearline_kafka_topic))
    return sources
