"""Kafka, by librdkafka. Open first: `bridge`."""
