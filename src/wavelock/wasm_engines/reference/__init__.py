"""A WebAssembly interpreter to hold the others against: small, slow, and written to be read.

`engine` runs modules in the deterministic form, as any engine does. `oracle` runs the original module and does itself
what the form asks for: fuel, depth, canonical NaNs, limits, plain atomics. Both must come to the same.
"""
