"""Runs of mirrors: planned, divided into tasks, copied and finished."""
