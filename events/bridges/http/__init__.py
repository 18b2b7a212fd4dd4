"""HTTP: webhooks, both ways. Open first: `bridge` (outbound), then `subscriber` (inbound)."""
