"""The Java that runs Kafka: found, and its version read."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ops.stack.missing import MissingError

OLDEST = 17


@dataclass(frozen=True)
class Java:
    """A Java executable and its version, such as `17.0.15`."""

    path: str
    version: str

    @property
    def major(self) -> int:
        """The 17 of `17.0.15`."""
        return int(self.version.split(".")[0])

    @property
    def key(self) -> str:
        """Changes when the executable does: a class archive of one Java is of no use to another."""
        return hashlib.sha256(f"{self.path} {self.version} {Path(self.path).stat().st_mtime_ns}".encode()).hexdigest()[:12]


def find_java() -> Java:
    """Java from JAVA_HOME or the PATH.

    Raises:
        MissingError: there is none, or it is older than 17.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    found = found or shutil.which("java")
    if found is None:
        raise MissingError("no `java` on the PATH (Java 17 or later)")
    java = Java(str(Path(found).resolve()), _version(found))
    if java.major < OLDEST:
        raise MissingError(f"{found} is Java {java.version}, Kafka needs {OLDEST} or later")
    return java


def _version(java: str) -> str:
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingError(f"`{java} -version` failed: {error}") from error
    match = re.search(r'version "([0-9][0-9.]*)', told)
    if match is None:
        raise MissingError(f"`{java} -version` does not tell a version: {told.strip()[:100]!r}")
    return match[1].rstrip(".")
