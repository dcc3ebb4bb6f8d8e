"""What the scripts that fetch data have in common: archives from package registries, and parts made whole or not at
all."""
