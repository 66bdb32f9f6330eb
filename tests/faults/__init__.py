"""Campaigns that kill, crowd and repeat, with real processes on a real clock."""
