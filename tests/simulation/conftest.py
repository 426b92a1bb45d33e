"""Its folder is where the planted bugs find the simulation."""
