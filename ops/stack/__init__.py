"""The local stack: one abstraction that gives a Kafka address and a Redis address, and runs workers and API beside them.

The servers come from the first of: `FRESHET_KAFKA` and `FRESHET_REDIS`; Docker Compose; native processes (Apache Kafka under
Java, `redis-server`). `FRESHET_STACK=native|docker` forces one, `FRESHET_CACHE` moves the folder of the Kafka jars.
"""

from ops.stack.lifecycle import Stack, down, resolve, status, up
from ops.stack.session import Servers, servers

__all__ = ["Servers", "Stack", "down", "resolve", "servers", "status", "up"]
