"""The program: the command line, the configuration, and a node put together from the parts.

The only package that reads configuration, the environment or the real clock. Everything below it takes
time and randomness as arguments.
"""
