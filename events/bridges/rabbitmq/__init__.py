"""RabbitMQ, by py-amqp. Open first: `bridge`."""
