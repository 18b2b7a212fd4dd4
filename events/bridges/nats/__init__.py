"""NATS core and JetStream, on one event loop a process. Open first: `core`, then `jetstream`."""
