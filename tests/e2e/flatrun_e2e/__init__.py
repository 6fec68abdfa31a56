"""What the end-to-end tests use: a real panel process, a real Engine, and the traces they leave."""
