"""The event lake: Kafka's log as Parquet files, each event once."""
