"""Kafka: topics → segments, with Debezium's envelopes as one of the formats. Not here: how segments become rows."""
