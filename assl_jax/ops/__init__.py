"""Pure N-dimensional image operations, all usable inside jit.

An image is `[*space, c]` with 2 or 3 spatial axes, a batch is `[b, *space, c]`. The array's shape
gives the rank. Random operations take a typed key as their first argument.
"""
