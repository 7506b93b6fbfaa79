"""Conversion of QuayRegistry files of Quay's Operator to inventory variables."""
