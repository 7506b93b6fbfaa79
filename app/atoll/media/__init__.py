"""Media that carry images to registries without a network connection."""
