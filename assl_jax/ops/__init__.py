"""Pure N-dimensional image operations, all usable inside jit.

An image is `[*space, c]` with 2 or 3 spatial axes, a batch `[b, *space, c]`; the rank is read from
the array. Operations that draw random numbers take a typed key first.
"""
