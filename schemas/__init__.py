"""Events, topics, ids, settings and errors: what every part of Freshet agrees on. Pure: no Kafka, Redis, HTTP or clock."""
