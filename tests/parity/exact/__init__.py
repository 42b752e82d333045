"""The mathematics of the originals in plain NumPy, apart from the package: what a computer without rounding would get.

Every function works in the precision of the arrays that it is given: float64 (or longdouble) for the exact answer,
float32 to measure what rounding alone does to it. Derivatives are written by hand; second ones are complex steps
through them, (g(x + ihv) / h).imag -> dg/dx v (Squire & Trapp 1998). The published formulae and tests/golden/README.md
are the source, nothing of the package.
"""
