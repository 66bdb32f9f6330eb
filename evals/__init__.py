"""The exam: cases, runners and judges; reaches the server only as a process."""
