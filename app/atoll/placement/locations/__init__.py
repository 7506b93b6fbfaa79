"""The life cycle of a location: active, read-only, draining, removed, lost.

`life_cycle` is the entry point. It combines `states` (the recorded states and the states lock),
`sole_copies` (what a location must be kept for), `drain`, `remove`, `lost` and `usage`; `purge`
empties the store of a location that is gone.
"""
