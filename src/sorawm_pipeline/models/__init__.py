"""Built-in weights and `models.json`, which pins the SHA-256 of each file."""
