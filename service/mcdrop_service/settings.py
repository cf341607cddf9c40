"""What can be set about a server, where it is read from, and how it is shown.

A flag beats the environment (``MCDROP_*``), the environment a TOML file, the file the default.
Knows names, units and bounds. Refuses to know what a setting does.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, HttpUrl, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from mcdrop.errors import InputError
from mcdrop_service import limits

__all__ = ["Settings", "read_settings"]

_PREFIX = "MCDROP_"
_OTHERS = {"MCDROP_ENGINE", "MCDROP_TEST_DATA"}  # read elsewhere

Door = Literal["health", "docs", "page", "metrics", "repository"]
Version = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Settings(BaseSettings):
    """The settings of a server. Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True)

    repository: Path = Field(Path("models"), description="the model repository: a folder per model")
    host: Literal["127.0.0.1", "localhost", "0.0.0.0", "::"] = Field(  # noqa: S104
        "127.0.0.1", description="address to bind"
    )
    port: int = Field(8000, ge=1024, le=65535, description="port to bind")
    workers: int = Field(1, ge=1, le=256, description="inference processes")

    body_bytes: int = Field(
        limits.BODY_BYTES, ge=1024, le=2**31, description="bytes of a request's body, unpacked"
    )
    rows: int = Field(limits.ROWS, ge=1, le=limits.MOST_ROWS, description="rows of a request")
    pending: int = Field(
        limits.PENDING, ge=1, le=10**5, description="requests taken on at a time; then 503"
    )
    deadline: float = Field(
        limits.DEADLINE, gt=0, le=3600, description="seconds from a request to its answer"
    )
    drain: int = Field(
        limits.DRAIN, ge=0, le=3600, description="seconds requests in flight get at the end"
    )
    patience: float = Field(
        limits.PATIENCE, ge=2, le=3600, description="seconds a worker may hang; then it is replaced"
    )

    keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="API keys as `mcdrop key` writes them, NAME:SHA256[:RATE]; none: all may ask, "
        "but not load and unload models, unless `repository` is open",
    )
    keys_file: Path | None = Field(None, description="file of such keys, one a line")
    open: Annotated[tuple[Door, ...], NoDecode] = Field(
        ("health", "page"),
        description="what needs no key: of health, docs, page, metrics, repository",
    )
    cors: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins whose pages may ask from a browser; none: no other origin's"
    )

    log: Literal["text", "json"] = Field("text", description="how a line is logged")
    access: Literal["all", "failed", "none"] = Field(
        "failed", description="which requests are logged"
    )
    tracing: HttpUrl | None = Field(
        None, description="OTLP/HTTP endpoint for OpenTelemetry traces (extra `tracing`)"
    )

    pin: dict[str, Version] = Field(
        {}, description="version that answers for a model, where not the latest"
    )
    shadow: dict[str, Version] = Field(
        {}, description="version of a model that answers unseen, to be compared"
    )

    drift_rows: int = Field(
        1000, ge=50, le=100_000, description="rows whose uncertainty is compared with calibration"
    )
    feedback: Path | None = Field(
        None, description="SQLite file that keeps answers for POST /feedback; none: no feedback"
    )
    feedback_rows: int = Field(
        1_000_000, ge=1, description="answered rows kept for feedback; the oldest go first"
    )
    adaptive: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="step of adaptive conformal inference; none: levels stay as asked",
    )

    @field_validator("keys", "open", "cors", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """A text, as the environment has it, is parted by commas or spaces."""
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("cors")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, _, rest = origin.partition("://")
            if origin != "*" and (scheme not in {"http", "https"} or not rest or "/" in rest):
                raise ValueError(f"got {origin!r}, wanted origins like https://example.org, or *")
        return origins

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings passes all by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is passed: `read_settings` has read the sources, and knows which said what."""
        return (init_settings,)

    def describe(self) -> str:
        """One line of ``name=value``; secrets are counted, not shown."""
        shown = self.model_dump(mode="json", exclude_none=True)
        shown["keys"] = f"{len(self.keys)} hidden"
        return " ".join(f"{name}={_show(value)}" for name, value in shown.items())


def read_settings(config: Path | None = None, **flags: Any) -> Settings:
    """The settings from flags, environment, ``config`` and defaults, in this order.

    Args:
        config: a TOML file; None for none.
        flags: settings by name; those that are None were not given.

    Raises:
        InputError: a source cannot be read, or a setting is unknown or wrong; the message names
            the source.
    """
    _check_environment(os.environ)
    sources = [
        _Source("the command line", "{}", {k: v for k, v in flags.items() if v is not None}),
        _Source("the environment", _PREFIX + "{}", _read_environment()),
        _Source(str(config), "{}", _read_file(config)),
    ]
    values = {name: value for source in reversed(sources) for name, value in source.values.items()}
    try:
        return Settings(**values)
    except ValidationError as error:
        raise InputError(_explain(error, sources)) from None


class _Source(NamedTuple):
    """Where settings come from, and how it spells a setting's name."""

    place: str
    spelling: str
    values: Mapping[str, Any]


def _read_environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(Settings)()
    except ValueError as error:  # a value that is not the JSON its type needs
        raise InputError(f"in the environment: {error}; wanted JSON, as {{'model': 2}}") from None


def _read_file(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{config} cannot be read: {error}; give a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{config} is not TOML: {error}") from None


def _check_environment(names: Mapping[str, str]) -> None:
    """Refuse variables that would be passed over in silence: misspelled ones, and LitServe's."""
    if "LIT_SERVER_API_KEY" in names:
        raise InputError(
            "in the environment: got LIT_SERVER_API_KEY, wanted MCDROP_KEYS: the keys of this "
            "server are what `mcdrop key` makes"
        )
    known = {_PREFIX + name.upper() for name in Settings.model_fields} | _OTHERS
    for name in names:
        if name.startswith(_PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, 1, 0.8)
            if close:
                raise InputError(f"in the environment: got {name}, wanted {close[0]}")


def _explain(error: ValidationError, sources: list[_Source]) -> str:
    """The first fault, with the source that it came from."""
    fault = error.errors(include_url=False)[0]
    name = str(fault["loc"][0])
    source = next(source for source in sources if name in source.values)
    shown = source.spelling.format(name.upper() if source.spelling != "{}" else name)
    where = "".join(f".{part}" for part in fault["loc"][1:])
    if fault["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, Settings.model_fields, 1, 0)
        return f"in {source.place}: got an unknown setting {name!r}, wanted {close[0]!r} perhaps"
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    came = "" if name == "keys" or message.startswith("got ") else f", got {fault['input']!r:.80}"
    return f"in {source.place}: {shown}{where}: {message}{came}"


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}:{v}" for k, v in value.items()) or "none"
    return ",".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
