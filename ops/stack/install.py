"""Apache Kafka in a cache folder: jars from Maven Central once, formatted storage once, a class archive once per Java.

<cache>/kafka_2.13-4.1.0-<digest of the pom>/libs/*.jar
                                            /template/          storage as `kafka-storage format` leaves it
                                            /java-<key>.jsa     class data sharing archive: start in 2.4 s instead of 4.0 s
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.stack.files import locked
from ops.stack.java import Java
from ops.stack.missing import MissingError
from ops.stack.processes import Say

if TYPE_CHECKING:
    from schemas.settings import Settings  # not at run time: pydantic would cost a starting supervisor 0.4 s

VERSION = "4.1.0"
FORMAT_PORT = 9  # never listened on: formatting writes no port into the storage
MAVEN_SECONDS = 900
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>freshet</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""


@dataclass(frozen=True)
class Installation:
    """A folder with Kafka in it."""

    path: Path

    @property
    def classpath(self) -> str:
        """All jars; the real path, because a class archive is only used with the path it was made with."""
        return f"{self.path.resolve()}/libs/*"

    @property
    def template(self) -> Path:
        """Formatted, empty storage."""
        return self.path / "template"

    def archive(self, java: Java) -> Path:
        """Where the class archive for that Java is, or would be."""
        return self.path.resolve() / f"java-{java.key}.jsa"


def cache_folder(settings: Settings) -> Path:
    """`FRESHET_CACHE`, else `cache` in the home folder."""
    given = os.environ.get("FRESHET_CACHE")
    return Path(given).expanduser().absolute() if given else settings.home.expanduser().absolute() / "cache"


def require_kafka(settings: Settings) -> Installation:
    """Where Kafka is in the cache, or will be.

    Raises:
        MissingError: it is not there and there is no Maven to fetch it with.
    """
    digest = hashlib.sha256(POM.encode()).hexdigest()[:8]
    found = Installation(cache_folder(settings) / f"kafka_2.13-{VERSION}-{digest}")
    if not found.path.is_dir() and shutil.which("mvn") is None:
        raise MissingError("no `mvn` (Maven) on the PATH to fetch Apache Kafka with")
    return found


def install(settings: Settings, java: Java, say: Say) -> Installation:
    """Kafka from the cache; the first time fetched with Maven (43 MB) and formatted. Safe to call from several processes.

    Raises:
        MissingError: Maven is needed and not there, or it failed.
    """
    found = require_kafka(settings)
    if found.path.is_dir():
        return found
    cache = cache_folder(settings)
    with locked(cache / ".kafka.lock"):
        if not found.path.is_dir():
            say(f"freshet: fetching Apache Kafka {VERSION} with Maven into {found.path} (once)")
            _build(found.path, java)
    return found


def _build(target: Path, java: Java) -> None:
    """Fill a temporary folder, then rename it: whoever sees the target sees all of it."""
    with tempfile.TemporaryDirectory(prefix=".kafka-", dir=target.parent) as name:
        draft = Path(name) / "kafka"
        draft.mkdir()
        (draft / "pom.xml").write_text(POM)
        maven = ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs"]
        _run(maven, draft)
        (draft / "format.properties").write_text(_format_properties())
        _run(
            [
                java.path,
                "-cp",
                "libs/*",
                "kafka.tools.StorageTool",
                "format",
                "-t",
                cluster_id(),
                "-c",
                "format.properties",
            ],
            draft,
        )
        draft.rename(target)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=MAVEN_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"`{command[0]}` failed: {error}") from error
    if done.returncode != 0:
        told = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise MissingError(f"`{' '.join(command[:4])} ...` failed with exit code {done.returncode}:\n{told}")


def cluster_id() -> str:
    """A random cluster id in Kafka's form: 16 bytes in URL-safe base 64, not starting with `-`."""
    while (text := urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _format_properties() -> str:
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{FORMAT_PORT}
listeners=PLAINTEXT://127.0.0.1:{FORMAT_PORT + 1},CONTROLLER://127.0.0.1:{FORMAT_PORT}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=template
"""
