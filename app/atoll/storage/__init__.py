"""Object stores: one interface, its drivers, their health, and the choice between them."""
