"""Running many studies: on the cores of one machine, and from the command line."""
