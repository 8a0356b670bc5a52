"""Pages of docs/ whose commands are run as they stand, and the machine they are run on."""
