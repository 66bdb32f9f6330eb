"""Tests of `mathcore`."""
