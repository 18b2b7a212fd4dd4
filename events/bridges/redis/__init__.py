"""Redis Streams and Pub/Sub. Open first: `streams`."""
