"""The settings of a mirror: which tags it copies, of which platforms, and when."""
