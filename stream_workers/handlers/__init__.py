"""The two stages as pure code: events in, writes and signals out. No Kafka, Redis, clock or environment."""
