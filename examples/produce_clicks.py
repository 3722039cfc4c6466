"""Sends a few clicks to Freshet with kafka-python, each acknowledged: `python examples/produce_clicks.py [user] [item ...]`."""

import json
import os
import sys
import time
import uuid

from kafka import KafkaProducer


def main() -> None:
    """One click per item, keyed by the user, so that all of a user's events reach the same worker in order."""
    user, *items = sys.argv[1:] or ["42", "0111161", "0068646"]
    producer = KafkaProducer(
        bootstrap_servers=os.environ.get("FRESHET_KAFKA", "localhost:9092"),
        acks="all",
    )
    for item in items:
        click = {
            "event_id": str(uuid.uuid4()),  # sent twice with the same id, it counts once
            "user_id": user,
            "item_id": item,
            "timestamp": time.time_ns() // 1_000_000,
        }
        sent = producer.send("clicks", key=user.encode(), value=json.dumps(click).encode())
        where = sent.get(timeout=10)  # raises when Kafka does not acknowledge
        print(f"user {user} clicked {item}: partition {where.partition}, offset {where.offset}")
    producer.close()


if __name__ == "__main__":
    main()
