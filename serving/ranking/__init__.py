"""The maths of serving. Pure: no Kafka, Redis, HTTP, clock or environment."""
