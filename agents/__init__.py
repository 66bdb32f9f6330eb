"""The chat agent, and the model's part of reading plain words."""
