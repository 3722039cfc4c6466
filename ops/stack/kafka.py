"""Apache Kafka as native process: one node that is broker and controller (KRaft), on the loopback address only."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ops.stack.install import VERSION, Installation, cluster_id
from ops.stack.java import Java
from ops.stack.ports import HOST
from ops.stack.processes import Child, Say, start, stop, wait_until
from ops.stack.readiness import kafka_answers
from ops.stack.state import Folder

# Serial GC and a small fixed start size are the quickest to start here; C1 only (TieredStopAtLevel=1) would save another
# 0.5 s but makes a busy broker slower.
FLAGS = ["-Xms256m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1"]
LOGGING = {
    "showDateTime": "true",
    "dateTimeFormat": "HH:mm:ss.SSS",
    "log.org.apache.kafka.common.config.AbstractConfig": "warn",  # else 300 lines of settings at every start
}


@dataclass(frozen=True)
class NativeKafka:
    """One Kafka node with its data in `<folder>/kafka` and its ports in `<folder>/ports.json`."""

    folder: Folder
    java: Java
    installation: Installation

    name = kind = "kafka"
    grace = 20.0
    patience = 120.0

    @property
    def address(self) -> str:
        """`127.0.0.1:port` for clients."""
        return f"{HOST}:{self.folder.ports.get('kafka')}"

    @property
    def log(self) -> Path:
        """What Kafka logs."""
        return self.folder.logs / "kafka.log"

    def settle(self) -> None:
        """Choose other ports in place of those that somebody else holds."""
        self.folder.ports.settle("kafka", "controller")

    def launch(self) -> Child:
        """Start Kafka on its storage; format that first when there is none."""
        archive = self.installation.archive(self.java)
        usable = archive.exists() and archive.stat().st_size > 0
        return self._launch([f"-XX:SharedArchiveFile={archive}"] if usable else [])

    def ready(self, child: Child) -> bool:
        """Whether it answers a metadata request."""
        return child.alive() and kafka_answers(self.address)

    def make_archive(self, say: Say) -> None:
        """Run Kafka once in this folder to record the classes that it loads; without that archive starts are slower, not wrong."""
        target = self.installation.archive(self.java)
        if target.exists():
            return
        say(f"freshet: preparing Apache Kafka {VERSION} for Java {self.java.version} (once, about 10 s)")
        draft = self.folder.path / "classes.jsa"
        child = self._launch([f"-XX:ArchiveClassesAtExit={draft}"])
        wait_until(lambda: self.ready(child) or not child.alive(), 60)
        stop([child], grace=60)
        if draft.exists():
            draft.replace(target)
        else:
            target.touch()  # empty: this Java makes none, do not try at every start

    def _launch(self, flags: list[str]) -> Child:
        folder = self.folder.path / "kafka"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "storage").exists():
            self._format(folder / "storage")
        (folder / "server.properties").write_text(_properties(self.folder))
        logging = [f"-Dorg.slf4j.simpleLogger.{key}={value}" for key, value in LOGGING.items()]
        command = [self.java.path, *FLAGS, *flags, *logging, "-cp", self.installation.classpath]
        return start([*command, "kafka.Kafka", "server.properties"], self.log, folder)

    def _format(self, storage: Path) -> None:
        """Copy the formatted template under a cluster id of its own, in one step."""
        draft = storage.with_name("storage.new")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(self.installation.template, draft)
        meta = draft / "meta.properties"
        lines = [line for line in meta.read_text().splitlines() if not line.startswith("cluster.id=")]
        meta.write_text("\n".join([*lines, f"cluster.id={cluster_id()}", ""]))
        draft.rename(storage)


def _properties(folder: Folder) -> str:
    """The server settings. Storage is relative to the working folder, so that no path needs escaping."""
    broker, controller = folder.ports.get("kafka"), folder.ports.get("controller")
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{HOST}:{controller}
listeners=PLAINTEXT://{HOST}:{broker},CONTROLLER://{HOST}:{controller}
advertised.listeners=PLAINTEXT://{HOST}:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=storage
auto.create.topics.enable=false
# One node: every internal topic has one replica, and few partitions so that starts and restarts are quick.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# A stack that rested for weeks (`down --keep`) goes on where it was: a year.
offsets.retention.minutes=525600
# After `kill -9` a restarted broker is refused until the session of its former self is over, 9 s by default.
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# 128 MiB by default, which is a sixth of this heap.
log.cleaner.dedupe.buffer.size=33554432
"""
