"""What stages hold of the cluster, where artifacts and runs live, and what is logged."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from spinml.config.part import Part
from spinml.secret_source import read_secret, without_password


class Resources(Part):
    """What one actor of a kind holds."""

    num_cpus: float = Field(default=1, ge=0)
    num_gpus: float = Field(default=0, ge=0)
    memory_gb: float | None = Field(default=None, gt=0)


class NodeGroup(Resources):
    """Nodes of one kind in an autoscaling cluster."""

    max_nodes: int = Field(ge=1)


class ResourceConfig(Part):
    """Resources by stage, how many generation actors, and what an autoscaler may add."""

    diffusion: Resources = Resources(num_cpus=2)
    """expand and fine-tune actors."""
    generation: Resources = Resources(num_cpus=2)
    generation_actors: int = Field(default=1, ge=1)
    training: Resources = Resources(num_cpus=2)
    light: Resources = Resources(num_cpus=1)
    """merge, export, measure."""
    node_groups: tuple[NodeGroup, ...] = ()
    """An autoscaling cluster at its largest: every group of nodes that stages may run on. Ray does
    not tell it, and at first the nodes are not there. Without it, the nodes that are there count.
    """


class StoreConfig(Part):
    """Where artifacts, runs and events live."""

    artifacts: str = "file://~/.local/share/spinml/artifacts"
    """``file://`` folder or ``s3://bucket/prefix``; S3 credentials come from the environment."""
    s3_endpoint: str | None = None
    database: SecretStr = SecretStr("sqlite:///~/.local/share/spinml/spinml.db")
    """SQLAlchemy URL: SQLite or ``postgresql+psycopg://``, without a password."""
    database_file: Path | None = None
    """In place of ``database``: a file that holds the URL, such as a mounted secret. It is read
    where the database is opened, so that no configuration that Ray passes around holds it."""
    database_env: str | None = None
    """In place of ``database``: the environment's variable that holds the URL, read likewise."""

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        named = {
            "database": "database" in self.model_fields_set,
            "database_file": self.database_file is not None,
            "database_env": self.database_env is not None,
        }
        given = [name for name, is_given in named.items() if is_given]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both given; leave one out")
        return self

    @field_validator("database")
    @classmethod
    def _no_password(cls, url: SecretStr) -> SecretStr:
        return SecretStr(without_password(url.get_secret_value(), "database_file or database_env"))

    @field_validator("s3_endpoint")
    @classmethod
    def _no_credentials(cls, url: str | None) -> str | None:
        instead = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return url if url is None else without_password(url, instead)

    def database_url(self) -> str:
        """The database's URL, from where it lies.

        Raises:
            ConfigError: the file or the variable cannot be read.
        """
        if self.database_file is None and self.database_env is None:
            return self.database.get_secret_value()
        return read_secret("store.database", self.database_file, self.database_env)


class LogConfig(Part):
    """What the service and its workers log, and how (spinml.logs)."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["text", "json"] = "text"
    """json: an object a line, with the ids of run and stage as fields."""
