"""What tests share: servers, systems under test (database + broker + real workers), waiting for facts."""
