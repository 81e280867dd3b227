"""Settings → where alerts go. Light to import, so that the nearline worker and its sensors have it too."""

from assets.notifier import Notifier
from orchestration.settings import Settings


def build_notifier(settings: Settings) -> Notifier:
    """Where alerts go: the local file always, and the configured addresses."""
    return Notifier(
        ui_url=settings.ui_url,
        file=settings.alerts_file,
        urls=tuple(url.get_secret_value() for url in settings.alert_urls),
    )
