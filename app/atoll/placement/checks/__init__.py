"""Compare the database with the stores: verify, repair, scrub, take inventory."""
